"""What transformers' apply_chat_template makes of conversations, for the templates of templates/ and the checkpoints.

    python chat_goldens.py [--templates DIR --out DIR]

With DIR, the same for other templates (*.jinja), written elsewhere: to try a reader on templates that are not ours.
"""

import argparse
import json
from datetime import datetime
from pathlib import Path

import jinja2
import transformers
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

import chats
from make import GOLDENS, quiet

HERE = Path(__file__).parent
NOW = datetime(2026, 1, 5, 9, 7, 3)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class Clock(datetime):
    """Stands for the class datetime in transformers, so that strftime_now has an answer that does not change."""

    @classmethod
    def now(cls, tz=None):
        return NOW


def render(tokenizer, template: str, conversation: dict, add_generation_prompt: bool) -> dict:
    try:
        text = tokenizer.apply_chat_template(
            conversation["messages"], chat_template=template, tokenize=False,
            tools=conversation.get("tools"), documents=conversation.get("documents"),
            add_generation_prompt=add_generation_prompt, **conversation.get("variables", {}),
        )
    except jinja2.exceptions.TemplateError as error:
        raised = type(error) is jinja2.exceptions.TemplateError  # what raise_exception raises
        return {"expected_error": {"raised_by_template": raised, "message": str(error)}}
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError) as error:
        return {"expected_error": {"raised_by_template": False, "message": str(error)}}
    return {"expected": text}


def template_cases(tokenizer, template: str) -> list[dict]:
    cases = []
    for name, conversation in chats.CONVERSATIONS.items():
        for prompt in (True, False) if name in chats.WITHOUT_PROMPT else (True,):
            result = render(tokenizer, template, conversation, prompt)
            cases.append({"conversation": name, "add_generation_prompt": prompt, **result})
    return cases


def write_templates(tokenizer, source: Path, out: Path) -> None:
    for path in sorted(source.glob("*.jinja")):
        template = path.read_text()
        try:
            cases = template_cases(tokenizer, template)
        except Exception as error:
            print(f"{path.name}: {type(error).__name__}: {error}")
            continue
        value = {"name": path.stem, "template": template, **TOKENS, "now": NOW.isoformat(), "cases": cases}
        (out / f"{path.stem}.json").write_text(dump(value))
        errors = sum("expected_error" in case for case in cases)
        print(f"{path.stem}: {len(cases)} cases, {errors} of them errors")


def write_expressions(tokenizer, out: Path) -> None:
    """Each line of expressions.txt is a template of its own, which sees one conversation and the variables c and n."""
    variables = {"c": "Hello wörld. ", "n": [3, 1, 2]}
    conversation = {**chats.CONVERSATIONS["system_turns"], "variables": variables}
    cases = []
    for template in (HERE / "expressions.txt").read_text().splitlines():
        cases.append({"template": template, **render(tokenizer, template, conversation, True)})
    about = {"name": "expressions", "conversation": "system_turns", "variables": variables, **TOKENS}
    out.write_text(dump({**about, "add_generation_prompt": True, "now": NOW.isoformat(), "cases": cases}))
    print(f"expressions: {len(cases)} cases, {sum('expected_error' in case for case in cases)} of them errors")


def write_checkpoints(out: Path) -> None:
    """Ids of chats by the template and tokenizer of each checkpoint, with special tokens in messages read or not."""
    names = ("user", "system", "turns", "unicode", "spaces", "special_text", "ends_with_assistant", "no_thinking")
    cases, seen = [], set()
    for folder in sorted(GOLDENS.glob("*/hf")):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        pair = (tokenizer.chat_template, (folder / "tokenizer.json").read_bytes())
        if tokenizer.chat_template is None or pair in seen:
            continue
        seen.add(pair)
        for name in names:
            cases.append({"checkpoint": folder.parent.name, "conversation": name, **_ids(tokenizer, name)})
    out.write_text(dump({"name": "checkpoints", "now": NOW.isoformat(), "cases": cases}))
    print(f"checkpoints: {len(cases)} cases")


def _ids(tokenizer, name: str) -> dict:
    conversation = chats.CONVERSATIONS[name]
    given = {"add_generation_prompt": True, **conversation.get("variables", {})}
    result = render(tokenizer, tokenizer.chat_template, conversation, True)
    if "expected" not in result:
        return result
    result["ids"] = tokenizer.apply_chat_template(conversation["messages"], **given)["input_ids"]
    as_text = tokenizer.apply_chat_template(conversation["messages"], sanitize_control_tokens=True, **given)
    if as_text["input_ids"] != result["ids"]:
        result["ids_messages_as_text"] = as_text["input_ids"]
    return result


def dump(value: dict) -> str:
    """JSON with a line for each key, each case and each conversation."""
    lines = []
    for key, item in value.items():
        text = json.dumps(item, ensure_ascii=False)
        if key == "cases":
            text = "[\n    " + ",\n    ".join(json.dumps(case, ensure_ascii=False) for case in item) + "\n  ]"
        elif key == "conversations":
            named = (f"{json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in item.items())
            text = "{\n    " + ",\n    ".join(named) + "\n  }"
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    chat_template_utils.datetime = Clock
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **TOKENS)
    out = arguments.out or GOLDENS / "chat"
    (out / "templates").mkdir(parents=True, exist_ok=True)
    write_templates(tokenizer, arguments.templates or HERE / "templates", out / "templates")
    made = {"script": "tools/goldens/chat_goldens.py", "transformers": transformers.__version__}
    made["jinja2"] = jinja2.__version__
    (out / "conversations.json").write_text(dump({"provenance": made, "conversations": chats.CONVERSATIONS}))
    if arguments.templates is None:
        write_expressions(tokenizer, out / "expressions.json")
        write_checkpoints(out / "checkpoints.json")


if __name__ == "__main__":
    main()
