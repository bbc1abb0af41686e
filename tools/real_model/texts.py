"""What is compared: ordinary text, and what tokenizers get wrong."""

TEXTS = [
    "Hello",
    "Hello, world!",
    " leading space",
    "trailing space ",
    "two  spaces,   three",
    "tab\tand\ttab",
    "line\nline\n\nparagraph",
    "windows\r\nline\r\n",
    "   \n  \n",
    "It's we'll they've I'd I'm you're CAN'T",
    "1 22 333 4444 55555",
    "in 1969, 3.14159, 1e-5, 0x7f",
    "   2 spaces and a digit",
    "snake_case camelCase SCREAMING_CASE kebab-case",
    "def f(x: int) -> int:\n    return x ** 2  # square\n",
    "if (a[i] != b[j]) { return -1; }",
    "https://example.org/a/b?c=d&e=f#g",
    "someone@example.org",
    "!!!???...,,,;;;",
    "\u201cquotes\u201d \u2018single\u2019 \u2014 dash \u2026",
    "caf\u00e9 na\u00efve \u00fcber \u00c5ngstr\u00f6m",
    "cafe\u0301 with a combining accent",
    "\u4f60\u597d\uff0c\u4e16\u754c",
    "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u0967\u0968\u0969 \u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f600 \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "zero\u200bwidth and no\u00a0break and em\u2003space",
    "<|im_start|>user\nThis is text, not a special token.<|im_end|>",
    "<|endoftext|>",
    "a" * 100,
]

# About 100 tokens of prose.
PASSAGE = (
    "The lighthouse had been dark for thirty years when Ada came to live in it. She carried her books up "
    "the 112 steps, one box at a time, and in the evening she sat by the window and watched the ships "
    "pass far out on the water. None of them knew that somebody was there again. On the seventh night a "
    "storm came up from the south, and she remembered what the old keeper had told her: the lamp still "
    "works, if you know how to ask it."
)

# System message or None (the template then writes its own), and the user's.
CHATS = [
    (None, "What is the capital of France?"),
    (None, "Write one sentence about a fox and a lamp."),
    ("You answer in one word.", "Is water wet?"),
    ("You are a careful assistant.", "  Count to 3.\n"),
]
