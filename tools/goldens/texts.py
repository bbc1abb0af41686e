"""Texts that tokenizers disagree about."""

import random

TEXTS = [
    "",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n\n",
    "\t",
    " \n \t\n  ",
    "\r\n\r\n",
    "a",
    "Hello",
    " Hello",
    "  Hello",
    "Hello ",
    "Hello  \n",
    "Hello, World!",
    "Hello world\nHello  world\n\n  Hello",
    "the fox and the lamp were there, they said",
    "I'm, you're, he's, we've, they'd, I'll, don't",
    "I'M, YOU'RE, HE'S, WE'VE, THEY'D, I'LL, DON'T",
    "'s 't 're ''s s' 'x",
    "rock’n’roll — it’s “quoted” … fine",
    "0 1 12 123 1234 12345 123456 1234567",
    "3.14159 -2e10 0x1F 1,000,000 50% $9.99 1st 2nd",
    "٣ १२३ ½ ² Ⅷ ４２",
    "a1b2c3 x86_64 v1.2.3-rc4",
    "def f(x):\n    return x ** 2  # square\n\n\tprint(f(3))\n",
    "for (int i = 0; i < n; ++i) { a[i] += b->c[i] << 2; }",
    'fn main() { println!("{:?}", vec![1u8; 4]); }\n',
    '{"key": [1, 2.5, null, true], "nested": {"a": "b\\n"}}',
    "<div class=\"x\">&nbsp;</div><!-- c -->",
    "https://example.com/a/b?c=d&e=f#g user@example.com",
    "SGVsbG8sIHdvcmxkIQ==",
    "~!@#$%^&*()_+`-={}|[]\\:\";'<>?,./",
    "====== ------ ...... !!!!!! ?????? ''''''```````\"\"\"\"",
    "é è ê ë ü ö ä ß ø å ñ ç",
    "e\u0301 u\u0308 n\u0303 A\u030a",
    "a\u0300\u0301\u0302\u0303\u0304",
    "\u0301 starts with a combining mark",
    "ﬁ ﬂ Å ℌ ㎏ ①",
    "Straße ÀÉÎÕÜ ĳ Œ ŉ İi ıI",
    "Привет, мир! Как дела?",
    "Γειά σου Κόσμε",
    "你好,世界。今天天气很好!",
    "こんにちは世界。カタカナとひらがな",
    "안녕하세요 세계 각",
    "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "שלום עולם",
    "مرحبا بالعالم ١٢٣",
    "नमस्ते दुनिया क्षि",
    "สวัสดีชาวโลก កាន់តែពិសេស",
    "😀😀 🦊🦊 🚀",
    "👍🏽 ❤️ 🇩🇪🇫🇷 👨‍👩‍👧‍👦 😶‍🌫️",
    "𝒳𝓎 𐍈 🀄 𠮷",
    "zero\u200bwidth\u200djoiner \ufeffbom soft\u00adhyphen",
    "no\u00a0break\u2003em\u3000ideographic\u2028line",
    "\u202eright to left\u202c",
    "nul\x00 bell\x07 escape\x1b[0m del\x7f nel\x85",
    "private \ue000 \U000f0000 replacement \ufffd noncharacter \uffff",
    "▁ looks like a space ▁▁ <0x0A> <0xE4>",
    "Ġ looks like a space too Ċ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "                                                                a",
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶‍🌫️ ✅ 🦙🦙 3 33 333 3333 3.3 3..3",
    "Once upon a time there was a little girl named lily. she liked to play in the park with her friends.",
]

SPECIAL = [
    "{0}",
    "{0}{0}",
    "{0}text",
    "text{0}",
    "text {0} text",
    " {0} ",
    "{0}\n{1}",
    "a{0}b{1}c",
    "{0}user\nHello{1}\n{0}assistant\n",
    "{0} {0}  {1}",
]

ALPHABET = ["a", "b", "the", "ing", " ", "  ", "\n", "\t", "1", "23", ".", "'s", "é", "e\u0301", "ж", "好", "🦊"]

FOREIGN = ["<s>", "</s>", "<unk>", "<|im_start|>user", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "[INST] hi [/INST]"]


def special_texts(special: list[str]) -> list[str]:
    """Texts with a tokenizer's special tokens, and with those of others and pieces of them."""
    first, second = special[:2]
    found = [form.format(first, second) for form in SPECIAL]
    for one, other in zip(special[1:], [*special[2:], first]):
        found += [form.format(one, other) for form in SPECIAL[:3]]
    cut = [first[:-1], first[1:], first.upper(), f"<{first}>"]
    return list(dict.fromkeys([*found, *FOREIGN, *cut]))


def random_texts(n: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    return ["".join(generator.choices(ALPHABET, k=generator.randint(2, 14))) for _ in range(n)]
