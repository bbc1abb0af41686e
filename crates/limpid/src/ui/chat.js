// A conversation over the public API: /v1/models says what is served, /v1/chat/completions streams the answers.

const FIELDS = [
  ["system", "System message", "What the model is told before the conversation.", "text"],
  ["temperature", "Temperature", "Divides the logits: 0 always takes the likeliest token, more is more varied.", 0, null, 0.05],
  ["top_p", "Top-p", "Keeps the likeliest tokens whose probabilities sum up to this; 1 is off.", 0, 1, 0.01],
  ["top_k", "Top-k", "Keeps so many of the likeliest tokens; 0 is off.", 0, null, 1],
  ["min_p", "Min-p", "Keeps tokens at least this likely, relative to the likeliest; 0 is off.", 0, 1, 0.01],
  ["max_tokens", "Longest answer", "Tokens after which an answer ends; empty: what the context has room for.", 1, null, 1],
  ["repetition_penalty", "Repetition penalty", "Above 1: tokens that occurred become less likely.", 0.01, 100, 0.01],
  ["frequency_penalty", "Frequency penalty", "Taken off a token's logit for each time it occurred in the answer.", -2, 2, 0.1],
  ["presence_penalty", "Presence penalty", "Taken off a token's logit once if it occurred in the answer.", -2, 2, 0.1],
  ["seed", "Seed", "The same seed gives the same answer; empty: a new one each time.", 0, Number.MAX_SAFE_INTEGER, 1],
  ["stop", "Stop string", "An answer ends before this text.", "text"],
  ["key", "API key", "Where the server asks for one. It is kept only until this page is closed.", "password"],
];

const at = (id) => document.getElementById(id);
const conversation = [];
let model = null;
let running = null;
let isSending = false;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function showFields() {
  for (const [name, label, hint, kindOrMin, max, step] of FIELDS) {
    const isText = typeof kindOrMin === "string";
    const id = `field-${name}`;
    const input = name === "system" ? element("textarea", { id, rows: 2 }) : element("input", { id });
    if (name !== "system") input.type = isText ? kindOrMin : "number";
    if (!isText) Object.assign(input, { min: kindOrMin, max: max ?? "", step, inputMode: "decimal" });
    if (name === "key") input.autocomplete = "off";
    const help = element("p", { className: "hint", id: `${id}-hint`, textContent: hint });
    input.setAttribute("aria-describedby", help.id);
    at("fields").append(element("div", { className: "field" },
      element("label", { htmlFor: id, textContent: label }), input, help));
  }
}

/** What a field holds: a string, a number, or undefined where it is empty. Throws what is wrong with it. */
function setting(name) {
  const input = at(`field-${name}`);
  if (!input.checkValidity()) throw new Error(`${name}: ${input.validationMessage}`);
  const text = input.value;
  if (text === "") return undefined;
  return input.type === "number" ? Number(text) : text;
}

function headers() {
  const key = at("field-key").value;
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function failure(response) {
  const body = await response.json().catch(() => null);
  return new Error(body?.error?.message ?? `the server answered with status ${response.status}`);
}

/** Asks what is served, again and again until the model is loaded. */
async function connect() {
  try {
    const response = await fetch("v1/models", { headers: headers() });
    if (response.status === 503) {
      at("model").textContent = "loading the model …";
      setTimeout(connect, 500);
      return;
    }
    if (!response.ok) throw await failure(response);
    const [served] = (await response.json()).data;
    model = served.id;
    at("model").textContent = `${model}, context ${served.max_model_len.toLocaleString("en")} tokens`;
    for (const [name, { value }] of Object.entries(served.limpid.defaults)) {
      const input = at(`field-${name}`);
      if (input && value !== undefined) input.placeholder = String(Number(value.toPrecision(6)));
    }
  } catch (error) {
    model = null;
    at("model").textContent = error.message;
  }
}

/** Adds a message to the page. */
function show(kind, text) {
  const paragraph = element("p", { textContent: text });
  const item = element("li", { className: kind }, paragraph);
  at("messages").append(item);
  item.scrollIntoView({ block: "end" });
  return { item, paragraph };
}

/** The events of a stream, as they come. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith("data: ") && part !== "data: [DONE]") yield JSON.parse(part.slice(6));
    }
  }
}

function request() {
  const system = setting("system");
  const body = {
    model,
    messages: [...(system ? [{ role: "system", content: system }] : []), ...conversation],
    stream: true,
    stream_options: { include_usage: true },
  };
  for (const [name] of FIELDS) {
    if (name === "system" || name === "key") continue;
    const value = setting(name);
    if (value !== undefined) body[name] = value;
  }
  return body;
}

const time = (ms) => ms == null ? "–" : ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms < 10 ? 2 : 0)} ms`;
const bytes = (n) => n >= 2 ** 20 ? `${(n / 2 ** 20).toFixed(1)} MiB` : `${(n / 1024).toFixed(0)} KiB`;

/** The four metrics of an answer, and why it ended. */
function metrics(usage, limpid) {
  const [{ timings, kv_bytes, cached_tokens }] = limpid.prompts;
  const rate = timings.decode_tok_per_s;
  const cached = cached_tokens ? `, ${cached_tokens} from the cache` : "";
  return [
    `time to first token ${time(timings.ttft_ms)}`,
    `time per output token ${time(timings.tpot_ms)}`,
    rate == null ? "– tokens/s" : `${rate.toFixed(rate < 100 ? 1 : 0)} tokens/s`,
    `KV cache ${bytes(kv_bytes)}`,
    `${usage.prompt_tokens} + ${usage.completion_tokens} tokens${cached}`,
    `ended by ${limpid.choices[0].stop.reason.replace("eos", "EOS").replaceAll("_", " ")}`,
    `seed ${limpid.seed}`,
  ].join(" · ");
}

async function answer() {
  const { item, paragraph } = show("assistant", "");
  const note = (text) => item.append(element("p", { className: "note", textContent: text }));
  paragraph.classList.add("waiting");
  running = new AbortController();
  setBusy(true);
  let [text, usage, limpid] = ["", null, null];
  try {
    const options = { method: "POST", headers: headers(), body: JSON.stringify(request()), signal: running.signal };
    const response = await fetch("v1/chat/completions", options);
    if (!response.ok) throw await failure(response);
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      const piece = chunk.choices[0]?.delta?.content;
      if (piece) {
        const messages = at("messages");
        const follows = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80;
        paragraph.classList.remove("waiting");
        text += piece;
        paragraph.append(piece);
        if (follows) messages.scrollTop = messages.scrollHeight;
      }
      usage = chunk.usage ?? usage;
      limpid = chunk.limpid?.prompts ? chunk.limpid : limpid;
    }
    if (usage && limpid) note(metrics(usage, limpid));
    else note("The server ended the answer early.");
  } catch (error) {
    if (error.name === "AbortError" && text) note("Stopped.");
    else if (error.name === "AbortError") refuse(item, "Stopped before anything was said.");
    else if (text) note(`Broken off: ${error.message}`);
    else refuse(item, error.message);
  } finally {
    paragraph.classList.remove("waiting");
    running = null;
    setBusy(false);
  }
  if (item.isConnected) conversation.push({ role: "assistant", content: text });
  at("messages").scrollTop = at("messages").scrollHeight;
}

/** Nothing came of the last message: it goes back to where it was typed. */
function refuse(item, message) {
  item.remove();
  const { content } = conversation.pop();
  if (at("input").value === "") at("input").value = content;
  at("messages").lastElementChild?.remove();
  show("error", message);
}

function setBusy(isBusy) {
  at("send").hidden = isBusy;
  at("stop").hidden = !isBusy;
  at("reset").disabled = isBusy;
}

function send(event) {
  event.preventDefault();
  const text = at("input").value;
  if (running || isSending || text.trim() === "") return;
  isSending = true;
  document.querySelectorAll("#messages .error").forEach((item) => item.remove());
  at("input").value = "";
  conversation.push({ role: "user", content: text });
  show("user", text);
  (model ? Promise.resolve() : connect()).then(answer).finally(() => { isSending = false; });
}

showFields();
if (matchMedia("(max-width: 48rem)").matches) at("settings").open = false;
at("fields").addEventListener("submit", (event) => event.preventDefault());
at("composer").addEventListener("submit", send);
at("input").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
});
at("stop").addEventListener("click", () => running?.abort());
at("reset").addEventListener("click", () => {
  conversation.length = 0;
  at("messages").replaceChildren();
  at("input").focus();
});
at("field-key").addEventListener("change", connect);
connect();
