"""What Jinja2, set up as transformers does for chat templates, makes of small templates.

    python make.py      # writes cases.json; needs transformers and jinja2
"""

import json
from pathlib import Path

import transformers
from transformers.utils.chat_template_utils import render_jinja_template

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  What is 2+2?\n"},
    {"role": "assistant", "content": "<think>\neasy\n</think>\n\n4"},
    {"role": "user", "content": 'Quote "it" & <b>\u00e9\u2028\U0001f98a</b>\t\\'},
]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "It's <sunny> & \"warm\"",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 3, "max": 1e20}},
            "required": ["city"],
            "additionalProperties": False,
            "x": None,
            "y": [1, 2.0, 0.1, 1e-7, -0.0, True],
            "z": {},
            "w": [],
        },
    },
}

# name: (template, args)
CASES = {
    # white space
    "trim and lstrip": ("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", {}),
    "minus": ("a  {%- if true -%}  b  {%- endif -%}  c", {}),
    "plus": ("a\n  {%+ if true +%}\n b{% endif %}", {}),
    "one newline at the end goes": ("a\n\n", {}),
    "comment": ("a {# x #}\n  {#- y -#}\n b", {}),
    "expression keeps newline": ("{{ 'a' }}\nb", {}),
    "raw": ("{% raw %}{{ x }}{% endraw %}", {}),
    # printing
    "constants": ("{{ true }} {{ false }} {{ none }} {{ True }} {{ None }} {{ 1 }} {{ 1.0 }} {{ 0.1 + 0.2 }}", {}),
    "large float": ("{{ 1e20 }}", {}),
    "containers": ("{{ [1, 'a', none, true, 2.5] }} {{ {'a': [1], 'b': \"it's\"} }} {{ (1, 'x') }}", {}),
    "undefined": ("[{{ nothing }}][{% if nothing %}y{% else %}n{% endif %}][{% for x in nothing %}x{% endfor %}]", {}),
    "undefined attribute": ("[{{ messages[0].nothing }}][{{ messages[0]['nothing'] is defined }}]", {}),
    "undefined of undefined": ("{{ nothing.more }}", {}),
    "undefined plus string": ("{{ nothing + 'a' }}", {}),
    "string plus int": ("{{ 'a' + 1 }}", {}),
    "tilde": ("{{ 'a' ~ 1 ~ none ~ true ~ nothing }}", {}),
    "no escaping": ("{{ messages[3].content }}", {}),
    # statements
    "loop variables": ("{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.previtem.role if not loop.first }}{{ loop.nextitem.role if not loop.last }};{% endfor %}", {}),
    "loop controls": ("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", {}),
    "loop else": ("{% for i in [] %}x{% else %}empty{% endfor %}", {}),
    "loop filter": ("{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.role }}{% endfor %}", {}),
    "loop scope": ("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", {}),
    "namespace": ("{% set ns = namespace(found=false, n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% if m.role == 'assistant' %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}{{ ns.n }}", {}),
    "set block": ("{% set x %}a{{ 1 }}b{% endset %}[{{ x }}]", {}),
    "macro": ("{% macro turn(role, text='none') %}<{{ role }}>{{ text }}{% endmacro %}{{ turn('user') }}{{ turn('bot', text='hi') }}", {}),
    "recursive macro": ("{% macro down(n) %}{{ n }}{% if n > 0 %}{{ down(n - 1) }}{% endif %}{% endmacro %}{{ down(3) }}", {}),
    "with": ("{% with a = 1 %}{{ a }}{% endwith %}{{ a is defined }}", {}),
    "filter block": ("{% filter upper %}abc{% endfilter %}", {}),
    "call block": ("{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}x{% endcall %}", {}),
    "unpack": ("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}", {}),
    "generation": ("{% for m in messages %}{% if m.role == 'assistant' %}\n  {% generation %}\n{{ m.content }}\n  {%- endgeneration %}\n!{% endif %}{% endfor %}", {}),
    "generation scope": ("{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}", {}),
    "generation with minus": ("a {%- generation -%} b {%- endgeneration -%} c", {}),
    # expressions
    "slices": ("{{ messages[1:] | length }}{{ messages[:-1] | length }}{{ 'abcdef'[1:3] }}{{ 'abc'[::-1] }}{{ messages[::-1][0].role }}{{ messages[-1].role }}", {}),
    "inline if": ("{{ 'a' if true else 'b' }}{{ 'a' if false }}|", {}),
    "boolean operators": ("{{ 0 or 'x' }}{{ '' and 1 }}{{ not '' }}{{ 1 and 2 }}", {}),
    "comparison": ("{{ 1 < 2 }}{{ 'a' in 'cat' }}{{ 'x' not in ['y'] }}{{ 'role' in messages[0] }}{{ 1 == 1.0 }}{{ none == false }}", {}),
    "arithmetic": ("{{ 7 // 2 }}{{ 7 / 2 }}{{ -7 % 3 }}{{ 2 ** 10 }}{{ 4 / 2 }}", {}),
    "string times int": ("{{ 'ab' * 3 }}", {}),
    "list plus list": ("{{ [1] + [2, 3] }}", {}),
    "percent": ("{{ 'a%sb%d' % ('x', 3) }}{{ '%s' % 'y' }}", {}),
    "tests": ("{{ 'a' is string }}{{ 1 is number }}{{ [] is iterable }}{{ {} is mapping }}{{ none is none }}{{ true is boolean }}{{ 3 is odd }}{{ 'a' is iterable }}{{ [] is sequence }}{{ 1 is integer }}{{ 1.5 is float }}{{ true is true }}{{ 'a' is sequence }}{{ 'a' is in 'abc' }}{{ 3 is divisibleby 3 }}", {}),
    "mapping test of messages": ("{{ messages[0] is mapping }}{{ messages is mapping }}{{ messages[0].content is string }}", {}),
    "tools are none": ("{{ tools is none }}{{ tools is defined }}{{ documents is defined }}", {}),
    "add_generation_prompt": ("{{ add_generation_prompt }}{% if not add_generation_prompt %}no{% endif %}", {}),
    "args": ("{{ enable_thinking is defined and enable_thinking is false }}{{ n }}{{ s }}{{ l }}", {"enable_thinking": False, "n": 3, "s": "x", "l": ["a", 1]}),
    "absent arg": ("{% if enable_thinking is defined and enable_thinking is false %}off{% else %}on{% endif %}", {}),
    # methods
    "strip": ("[{{ messages[1].content.strip() }}][{{ messages[1].content.lstrip() }}][{{ messages[1].content.rstrip('\\n') }}][{{ 'xxaxx'.strip('x') }}]", {}),
    "split": ("{{ messages[2].content.split('</think>')[-1].lstrip('\\n') }}|{{ 'a b  c'.split() }}{{ 'a,b,c'.split(',', 1) }}", {}),
    "rsplit": ("{{ 'a,b,c'.rsplit(',', 1) }}{{ 'a,b'.rsplit(',')[0] }}", {}),
    "partition": ("{{ 'a=b=c'.partition('=')[2] }}{{ 'a=b=c'.rpartition('=')[0] }}{{ 'abc'.partition('=')[0] }}", {}),
    "startswith": ("{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ '<think>' in messages[2].content }}", {}),
    "replace": ("{{ 'aXbX'.replace('X', '-') }}{{ 'aXbX'.replace('X', '-', 1) }}", {}),
    "case": ("{{ 'aB c'.upper() }}{{ 'aB'.lower() }}{{ 'ab cd'.title() }}{{ 'ab'.capitalize() }}", {}),
    "find": ("{{ 'abc'.find('c') }}{{ 'abc'.find('x') }}{{ 'aba'.rfind('a') }}{{ 'aba'.count('a') }}", {}),
    "removeprefix": ("{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}{{ 'abc'.removeprefix('x') }}", {}),
    "join method": ("{{ ', '.join(['a', 'b']) }}", {}),
    "format method": ("{{ '{} and {}'.format('a', 1) }}", {}),
    "get": ("{{ messages[0].get('role') }}{{ messages[0].get('x') }}{{ messages[0].get('x', 'd') }}", {}),
    "keys and values": ("{{ messages[0].keys() | list }}{{ messages[0].values() | list }}", {}),
    "splitlines": ("{{ 'a\\nb'.splitlines() }}{{ '12'.isdigit() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}", {}),
    # filters
    "trim": ("[{{ messages[1].content | trim }}]", {}),
    "default": ("{{ nothing | default('d') }}{{ none | default('d') }}{{ '' | default('d', true) }}", {}),
    "length": ("{{ messages | length }}{{ 'abc' | length }}{{ messages | count }}", {}),
    "join": ("{{ messages | map(attribute='role') | join(', ') }}{{ [1, 2] | join }}", {}),
    "selectattr": ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | rejectattr('role', '==', 'user') | map(attribute='role') | list }}", {}),
    "first and last": ("{{ (messages | first).role }}{{ (messages | last).role }}{{ [3, 1, 2] | sort }}{{ [1, 2] | reverse | list }}", {}),
    "string and int": ("{{ 3 | string + 'a' }}{{ '3' | int + 1 }}{{ 1.7 | int }}{{ '1.5' | float }}", {}),
    "int of no number": ("{{ 'x' | int }}", {}),
    "case filters": ("{{ 'aB' | upper }}{{ 'aB' | lower }}{{ 'ab cd' | title }}{{ 'ab cd' | capitalize }}", {}),
    "replace filter": ("{{ 'aXb' | replace('X', '-') }}", {}),
    "items and dictsort": ("{% for k, v in messages[0] | items %}{{ k }}{% endfor %}{% for k, v in {'b': 1, 'a': 2} | dictsort %}{{ k }}{% endfor %}", {}),
    "indent": ("{{ 'a\\nb\\n\\nc' | indent(2) }}|{{ 'a\\nb' | indent(4, true) }}", {}),
    "safe and escape": ("{{ '<a>' | safe }}{{ '<a>' | e }}", {}),
    "format filter": ("{{ '%s-%03d-%.2f' | format('a', 7, 1.5) }}", {}),
    "unique": ("{{ ['a', 'b', 'a'] | unique | list }}{{ [1, 2, 3] | sum }}{{ [1, 5, 3] | max }}{{ [1, 5, 3] | min }}", {}),
    "select": ("{{ [0, 1, 2] | select | list }}{{ [1, 2, 3] | select('odd') | list }}{{ [1, 2, 3] | reject('odd') | list }}", {}),
    "batch and slice": ("{{ [1, 2, 3] | batch(2) | list }}", {}),
    "groupby": ("{% for g in messages | groupby('role') %}{{ g.grouper }}{{ g.list | length }}{% endfor %}", {}),
    "abs and round": ("{{ -3 | abs }}{{ 2.6 | round }}{{ 2.567 | round(1) }}", {}),
    "wordcount": ("{{ 'a b c' | wordcount }}", {}),
    "list of string": ("{{ 'abc' | list }}", {}),
    "map filter": ("{{ [' a ', 'b '] | map('trim') | list }}{{ ['a'] | map('upper') | join }}", {}),
    # tojson
    "tojson": ("{{ tool | tojson }}", {"tool": TOOL}),
    "tojson indent": ("{{ tool | tojson(indent=4) }}", {"tool": TOOL}),
    "tojson ascii": ("{{ messages[3] | tojson(ensure_ascii=true) }}", {}),
    "tojson text": ("{{ messages[3] | tojson }}", {}),
    "tojson separators": ("{{ tool | tojson(separators=(',', ':')) }}", {"tool": TOOL}),
    "tojson sorted": ("{{ tool | tojson(sort_keys=true, indent=2) }}", {"tool": TOOL}),
    "tojson numbers": ("{{ [1, -1, 1.0, 1e16, 1e15, 123456789012345680.0, 0.0001, 0.00001, 1.5e-10, 9007199254740993, 18446744073709551615, -0.0] | tojson }}", {}),
    "tojson control characters": ("{{ '\\u0000\\u001f\\u007f\\b\\f\\n\\r\\t\"\\\\/' | tojson }}", {}),
    "tojson keys": ("{{ {1: 'a', none: 'b', true: 'c', 1.5: 'd'} | tojson }}", {}),
    "tojson loop": ("{% for t in [tool] %}{{ t | tojson }}\n{% endfor %}", {"tool": TOOL}),
    "tojson undefined": ("{{ nothing | tojson }}", {}),
    "tojson indent zero": ("{{ [1, {'a': []}] | tojson(indent=0) }}", {}),
    "tojson tuple and map": ("{{ (1, 'a') | tojson }}{{ [1, 2] | map('string') | list | tojson }}", {}),
    # functions
    "raise_exception": ("a\n{{ raise_exception('roles must alternate') }}", {}),
    "range": ("{{ range(3) | list }}{{ range(1, 7, 2) | list }}{{ range(2, 0, -1) | list }}", {}),
    "dict": ("{{ dict(a=1, b='x') }}", {}),
    "strftime_now is there": ("{{ strftime_now is defined }}", {}),
    "loop over string": ("{% for c in 'abc' %}{{ c }}.{% endfor %}", {}),
    "nested attribute": ("{{ tool.function.parameters.properties.city.type }}{{ tool['function']['name'] }}", {"tool": TOOL}),
    "dict iteration": ("{% for k in tool.function.parameters.properties %}{{ k }},{% endfor %}", {"tool": TOOL}),
    "do not call": ("{{ messages[0].content() }}", {}),
    "unknown filter": ("{{ 'a' | nosuchfilter }}", {}),
    "unknown method": ("{{ 'a'.nosuchmethod() }}", {}),
    "syntax error": ("a\n{% if %}", {}),
    "unknown tag": ("{% nosuchtag %}", {}),
    "unclosed": ("{% if true %}", {}),
}


def render(template: str, args: dict) -> dict:
    try:
        texts, _ = render_jinja_template([CHAT], chat_template=template, add_generation_prompt=True, **args)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"text": texts[0]}


def main() -> None:
    cases = []
    for name, (template, args) in CASES.items():
        cases.append({"name": name, "template": template, "args": args, **render(template, args)})
    lines = ",\n".join("    " + json.dumps(case, ensure_ascii=True) for case in cases)
    about = json.dumps({"script": "make.py", "transformers": transformers.__version__})
    chat = json.dumps(CHAT, ensure_ascii=True)
    path = Path(__file__).with_name("cases.json")
    path.write_text(f'{{\n  "provenance": {about},\n  "messages": {chat},\n  "cases": [\n{lines}\n  ]\n}}\n')
    print(len(cases), "cases,", sum("error" in case for case in cases), "of them errors")


if __name__ == "__main__":
    main()
