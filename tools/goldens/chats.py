"""Conversations that every chat template is tried on."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place, with \"quotes\" & <tags>.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "Where: Köln, 東京"},
                "days": {"type": "integer", "minimum": 1, "default": 3},
                "units": {"type": "array", "items": {"type": "string", "enum": ["°C", "°F"]}},
            },
            "required": ["place"],
        },
    },
}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "a + b",
        "parameters": {"type": "object", "properties": {"b": {"type": "number"}, "a": {"type": "number"}}},
    },
}


def user(content) -> dict:
    return {"role": "user", "content": content}


def assistant(content, **more) -> dict:
    return {"role": "assistant", "content": content, **more}


def system(content) -> dict:
    return {"role": "system", "content": content}


def call(name: str, arguments: dict, call_id: str = "abcdefghi") -> dict:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(content: str, call_id: str = "abcdefghi") -> dict:
    return {"role": "tool", "content": content, "tool_call_id": call_id}


TURNS = [user("Tell me a story."), assistant("Once upon a time."), user("Go on.")]
TOOL_USE = [
    user("Weather in Köln?"),
    assistant("", tool_calls=[call("get_weather", {"place": "Köln", "days": 2, "exact": 1.0, "note": None})]),
    tool('{"sky": "grey"}'),
]
TWO_CALLS = [
    system("Add."),
    user("1 + 2 and 3 + 4?"),
    assistant(None, tool_calls=[call("add", {"a": 1, "b": 2}), call("add", {"b": 4.5, "a": 3}, "123456789")]),
    tool("3"),
    tool("7.5", "123456789"),
    assistant("3 and 7.5."),
    user("Thanks."),
]
THOUGHT = "<think>\nA fox, a lamp.\n</think>\n\nOnce upon a time."

# name -> messages and what else is passed: tools, documents, variables of the template
CONVERSATIONS: dict[str, dict] = {
    "user": {"messages": [user("Hello")]},
    "system": {"messages": [system("Be brief."), user("Hello")]},
    "turns": {"messages": TURNS},
    "system_turns": {"messages": [system("  You tell stories. \n"), *TURNS]},
    "unicode": {
        "messages": [system("Antworte höflich."), user("你好! 🦊 e\u0301 \u200b"), assistant("👍🏽"), user("Ça va?")]
    },
    "spaces": {"messages": [user("  two leading, two trailing  "), assistant("\n\nlines\n\n"), user("\ttab\n")]},
    "empty": {"messages": [user("")]},
    "empty_system": {"messages": [system(""), user("Hello")]},
    "special_text": {
        "messages": [user("<|im_end|>\n<|im_start|>system\n</s>[INST] <|eot_id|> <end_of_turn> {{ bos_token }}")]
    },
    "ends_with_assistant": {"messages": [user("Hello"), assistant("Hi")]},
    "two_users": {"messages": [user("Hello"), user("Anybody there?")]},
    "late_system": {"messages": [user("Hello"), assistant("Hi"), system("Be rude."), user("Well?")]},
    "only_system": {"messages": [system("Be brief.")]},
    "unknown_role": {"messages": [{"role": "critic", "content": "Hm."}]},
    "parts": {"messages": [user([{"type": "text", "text": " One. "}, {"type": "text", "text": "Two."}])]},
    "thoughts": {"messages": [user("Story?"), assistant(THOUGHT), user("Another?"), assistant(THOUGHT)]},
    "reasoning_content": {
        "messages": [user("Story?"), assistant("Once.", reasoning_content="\nA fox.\n"), user("More?")]
    },
    "no_thinking": {"messages": TURNS, "variables": {"enable_thinking": False}},
    "thinking": {"messages": TURNS, "variables": {"enable_thinking": True, "thinking": True}},
    "variables": {
        "messages": [user("Hello")],
        "variables": {
            "date_string": "1 Jan 2030", "controls": {"length": "short", "b": [1, 2.0, None]}, "bos_token": "<B>"
        },
    },
    "tools": {"messages": [system("Help."), user("Weather in Köln?")], "tools": [WEATHER, ADD]},
    "tools_in_system": {
        "messages": [user("Weather?")], "tools": [WEATHER], "variables": {"tools_in_user_message": False}
    },
    "tool_use": {"messages": TOOL_USE, "tools": [WEATHER]},
    "tool_answer": {"messages": [*TOOL_USE, assistant("It is grey."), user("And tomorrow?")], "tools": [WEATHER]},
    "two_calls": {"messages": TWO_CALLS, "tools": [ADD]},
    "documents": {
        "messages": [user("Who has the lamp?")],
        "documents": [{"title": "Fox", "text": "The fox has it."}, {"title": "Owl", "text": "Not the owl."}],
    },
}
WITHOUT_PROMPT = ("user", "system_turns", "ends_with_assistant", "thoughts", "tool_answer")
