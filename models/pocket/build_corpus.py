#!/usr/bin/env python3
"""Put the cleaned sources together as the corpus that prepare.py reads.

    python build_corpus.py RAW OUT          needs tinystories_{train,val}, ccby and pd .jsonl in RAW
    python build_corpus.py --synth-only OUT      only the project's own text, from synth.py

OUT gets SOURCE.jsonl.zst and, held out, SOURCE.val.jsonl.zst: JSON lines, {"text": ...} or
{"messages": [...]}. Where the sources are from and what was changed in them: corpus/LICENSES.md.
"""

import argparse
import json
import random
import re
from pathlib import Path

import zstandard

import synth

R = random.Random(7)

# Nouns that may stand in a request, besides those of synth.py.
MORE_NOUNS = """
    bird fish park tree house ball boat car truck train garden flower forest castle princess king queen
    dragon monster wizard fairy beach sand sea lake river mountain hill school teacher kitchen cake
    cookie soup apple banana bread milk juice candy ice cream tea rain snow sun moon star cloud wind
    storm rainbow dress hat shoe sock coat scarf box bag book pencil paper crayon paint picture song
    dance game toy doll bear puppy kitten bunny chick lamb cow pig sheep horse duck hen frog turtle bee
    ant spider butterfly worm snake lizard whale shark dolphin crab shell rock stone stick leaf seed
    carrot pumpkin tomato potato corn pie jam honey butter cheese egg fork spoon cup plate bowl table
    chair bed blanket pillow lamp door window key mirror clock phone radio camera bell drum guitar piano
    whistle kite balloon swing slide sandbox bike bicycle wagon sled scooter rocket plane helicopter bus
    tractor farmer doctor nurse baker police fireman pilot sailor pirate knight robot ghost giant elf
    witch mommy daddy mom dad grandma grandpa sister brother baby friend neighbor cat dog lion tiger
    monkey elephant giraffe zebra bear fox wolf owl crow parrot penguin squirrel rabbit mouse deer
    hedgehog goat donkey camel bat island cave bridge tower tent store market farm barn zoo library
    hospital museum treasure map coin ring crown necklace jewel gem button needle thread rope ladder
    bucket broom hammer nail saw glue tape scissors umbrella raincoat boots gloves mittens sweater
    pajamas soap towel brush comb toothbrush bath pool pond puddle mud ice fire candle
"""
NOUNS = (
    set(synth.ANIMALS)
    | set(synth.PEOPLE)
    | {word for words in synth.OBJ.values() for word in words}
    | set(synth.CREATURES)
    | set(MORE_NOUNS.split())
)
# These stand without an article.
NO_ARTICLE = set("""
    mommy daddy mom dad grandma grandpa bread milk juice candy rain snow ice cream tea soup sand sea sun
    moon jam honey butter cheese corn paint paper mud fire soap police pajamas boots gloves mittens
    scissors glue tape thread treasure boots
""".split())
# Pieces of the old books that hold one of these words are left out.
LEFT_OUT = re.compile(
    r"\b("
    r"negro\w*|nigg\w*|dark(y|ies)|savages?|jew(s|ish)?|gyps(y|ies)|heathen\w*|cannibal\w*|"
    r"blackamoor\w*|black (man|men|woman|people|boy)|coolie\w*|redskin\w*|squaw|"
    r"hang(ed|ing) himself|kill(ed|ing)? (himself|herself)|corpse|murder\w*|slaughter\w*|"
    r"whip(ped|ping)?|blood(y)?|beheaded|cut off (his|her) head"
    r")\b",
    re.I,
)


def load(folder, name):
    with open(folder / name, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def save(folder, name, docs):
    text = "".join(json.dumps(doc, ensure_ascii=True) + "\n" for doc in docs)
    (folder / (name + ".jsonl.zst")).write_bytes(zstandard.compress(text.encode(), level=19))
    print("%-24s %7d documents %10d bytes" % (name, len(docs), len(text)))


def nouns_of(text):
    """Up to six nouns that the story is about: said three times, or twice and early."""
    low = text.lower()
    opening = " ".join(re.split(r"(?<=[.!?]) ", low)[:4])
    found = []
    for word in re.findall(r"[a-z]+", low):
        if word in NOUNS and word not in found:
            n = len(re.findall(r"\b%s(s|es)?\b" % word, low))
            if n >= 3 or (n >= 2 and re.search(r"\b%s\b" % word, opening)):
                found.append(word)
    return found[:6]


def noun_phrase(word):
    return word if word in NO_ARTICLE else synth.an(word)


def request(text):
    """What somebody may have asked to be told this story."""
    nouns, r = nouns_of(text), R.random()
    names = re.findall(r"\b(?:named|called) ([A-Z][a-z]+)\b", text)
    synth.R.seed(R.random())
    if nouns and r < 0.75:
        R.shuffle(nouns)
        n = min(len(nouns), R.choice([1, 1, 2, 2, 3]))
        phrases = [noun_phrase(word) for word in nouns[:n]]
        joined = phrases[0] if n == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
        if r < 0.62:
            return synth.expand(R.choice(synth.ASK)).replace("{x}", joined)
        return synth.expand(R.choice(synth.ASK_WORDS)).replace("{w}", ", ".join(nouns[:n]))
    if names and r < 0.9:
        return "Tell me a story about %s." % names[0]
    return synth.expand(R.choice(synth.ASK_ANY))


def first_sentence(text):
    m = re.match(r'.{20,160}?[.!?]"?(?= )', text, flags=re.S)
    return m.group(0) if m else None


def exchange(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def as_chat(text):
    """A story as the answer to a request, or its rest as the answer to its beginning."""
    if R.random() < 0.14 and first_sentence(text):
        head = first_sentence(text)
        synth.R.seed(R.random())
        ask = "[Continue this story|Go on|Finish this story|What happens next|Continue]: "
        return exchange(synth.expand(ask) + head, text[len(head) :].strip())
    return exchange(request(text), text)


def write_tinystories(raw, out):
    stories = load(raw, "tinystories_train.jsonl")
    save(out, "tinystories", stories)
    save(out, "tinystories_chat", [as_chat(story["text"]) for story in stories])
    save(out, "tinystories.val", load(raw, "tinystories_val.jsonl"))


def write_books(raw, out):
    ccby = [
        {"text": book["text"] if R.random() < 0.5 else book["title"] + "\n\n" + book["text"]}
        for book in load(raw, "ccby.jsonl")
    ]
    R.shuffle(ccby)
    save(out, "ccby_books.val", ccby[:15])
    save(out, "ccby_books", ccby[15:])
    pieces = [
        {"text": piece["text"]}
        for piece in load(raw, "pd.jsonl")
        if "dolittle" not in piece["book"] and not LEFT_OUT.search(piece["text"])
    ]
    R.shuffle(pieces)
    save(out, "pd_books.val", pieces[:30])
    save(out, "pd_books", pieces[30:])


def write_synth(out):
    synth.R.seed(11)
    seen = set()
    save(out, "synth.val", synth.items(150, 150, seen))
    save(out, "synth", synth.items(20000, 40000, seen))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("raw", type=Path, nargs="?")
    ap.add_argument("out", type=Path)
    ap.add_argument("--synth-only", action="store_true")
    args = ap.parse_args()
    if args.raw is None and not args.synth_only:
        ap.error("RAW is needed for all but --synth-only")
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.synth_only:
        write_tinystories(args.raw, args.out)
        write_books(args.raw, args.out)
    write_synth(args.out)


if __name__ == "__main__":
    main()
