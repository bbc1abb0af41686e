"""What the unmodified openai package gets from `limpid serve`: chats, streams, stops, n, seeds, logprobs, errors.

`cargo xtask clients` makes an environment for it and runs it. It starts the server itself, with the embedded model.
"""

import argparse
import re
import subprocess
import threading

import openai

STORY = [{"role": "user", "content": "Tell me a story about a fox and a lamp."}]
ASK = {"model": "pocket", "messages": STORY, "seed": 3, "max_tokens": 24}


def test_models(client):
    assert [model.id for model in client.models.list()] == ["pocket"]
    assert client.models.retrieve("pocket").owned_by == "limpid"


def test_chat(client):
    answer = client.chat.completions.create(**ASK)
    assert answer.object == "chat.completion" and answer.model == "pocket"
    [choice] = answer.choices
    assert choice.finish_reason == "length" and choice.message.role == "assistant"
    assert len(choice.message.content) > 20
    assert answer.usage.completion_tokens == 24
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 24
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer.model_extra["limpid"]["choices"][0]["stop"]["reason"] == "max_tokens"


def test_stream(client):
    whole = client.chat.completions.create(**ASK)
    chunks = list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    with client.chat.completions.stream(**ASK) as stream:
        for _ in stream:
            pass
        assert stream.current_completion_snapshot.choices[0].message.content == text


def test_leaving(client):
    stream = client.chat.completions.create(**{**ASK, "max_tokens": 900}, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    assert client.chat.completions.create(**ASK).choices


def test_stop(client):
    text = client.chat.completions.create(**ASK).choices[0].message.content
    word = text.split()[5]
    answer = client.chat.completions.create(**ASK, stop=[word, "never occurs"])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == text[: text.index(word)]
    assert answer.model_extra["limpid"]["choices"][0]["stop"]["string"] == word


def test_n_and_seed(client):
    first = client.chat.completions.create(**ASK, n=3, temperature=1.3)
    second = client.chat.completions.create(**ASK, n=3, temperature=1.3)
    texts = [choice.message.content for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2] and len(set(texts)) == 3
    assert texts == [choice.message.content for choice in second.choices]
    unseeded = [client.chat.completions.create(**{**ASK, "seed": None}, temperature=1.3) for _ in range(4)]
    assert len({answer.choices[0].message.content for answer in unseeded}) > 1


def test_logprobs(client):
    answer = client.chat.completions.create(**ASK, logprobs=True, top_logprobs=4)
    tokens = answer.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 4 for token in tokens)
    assert bytes(byte for token in tokens for byte in token.bytes).decode() == answer.choices[0].message.content


def test_completions(client):
    ask = {"model": "pocket", "seed": 1, "max_tokens": 8}
    answer = client.completions.create(prompt=["Once upon", "The fox"], n=2, logprobs=2, echo=True, **ask)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[0].text.startswith("Once upon") and answer.choices[3].text.startswith("The fox")
    logprobs = answer.choices[0].logprobs
    assert logprobs.token_logprobs[0] is None and len(logprobs.tokens) == len(logprobs.text_offset)
    alone = client.completions.create(prompt="The fox", n=2, **ask)
    assert ["The fox" + choice.text for choice in alone.choices] == [choice.text for choice in answer.choices[2:]]
    pieces = client.completions.create(prompt="The fox", stream=True, **ask)
    assert "".join(piece.choices[0].text for piece in pieces) == alone.choices[0].text
    ids = client.completions.create(prompt=[5, 6, 7], extra_body={"return_token_ids": True}, **ask)
    assert len(ids.choices[0].model_extra["token_ids"]) == 8
    beams = {"num_beams": 4, "num_return_sequences": 2}
    answer = client.completions.create(prompt="The fox", extra_body=beams, **ask)
    scores = [choice["score"] for choice in answer.model_extra["limpid"]["choices"]]
    assert len(scores) == 2 and scores[0] >= scores[1]


def fails(error, param, **ask):
    def call(client):
        try:
            client.chat.completions.create(**{**ASK, **ask})
        except error as caught:
            assert caught.param == param, caught.body
            assert caught.body["message"], caught.body
            return
        raise AssertionError(f"{ask} was taken")

    return call


def test_errors(client):
    fails(openai.BadRequestError, "top_p", top_p=2)(client)
    fails(openai.BadRequestError, "no_such", extra_body={"no_such": 1})(client)
    fails(openai.BadRequestError, "max_tokens", max_tokens=5000)(client)
    fails(openai.NotFoundError, "model", model="gpt-4o")(client)


def test_together(client):
    alone = [client.chat.completions.create(**{**ASK, "seed": seed}).choices[0] for seed in range(8)]
    together = [None] * 8

    def ask(seed):
        together[seed] = client.chat.completions.create(**{**ASK, "seed": seed}).choices[0]

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limpid", required=True, help="the program")
    args = parser.parse_args()
    command = [args.limpid, "serve", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = next(found[1] for line in server.stderr if (found := re.search(r"(http://[\d.:]+)", line)))
        # Nobody else reads it, and a full pipe would stop the server.
        threading.Thread(target=server.stderr.read, daemon=True).start()
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=60)
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                test(client)
                print(f"openai {openai.__version__}: {name} ok")
    finally:
        server.terminate()
    assert server.wait(30) == 0


if __name__ == "__main__":
    main()
