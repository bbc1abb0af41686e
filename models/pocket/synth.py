#!/usr/bin/env python3
"""Write the project's own training text: little stories, talks about them, and small questions
with their answers. Everything comes from the templates and word lists of this file, so the text
belongs to the project. One seed gives one corpus.

    python synth.py --stories 3 --small 3 --seed 1      # to look at; build_corpus.py writes the corpus

Each line is {"messages": [{"role": ..., "content": ...}, ...]} or {"text": ...}.
"""

import argparse
import json
import random
import re

R = random.Random(1)


# ------------------------------------------------------------------ tiny template language
def expand(t):
    """[a|b|c] picks one, nested; an empty choice is allowed."""
    out, i = [], 0
    while i < len(t):
        c = t[i]
        if c == "[":
            depth, j, parts, start = 1, i + 1, [], i + 1
            while depth:
                d = t[j]
                if d == "[":
                    depth += 1
                elif d == "]":
                    depth -= 1
                    if depth == 0:
                        parts.append(t[start:j])
                elif d == "|" and depth == 1:
                    parts.append(t[start:j])
                    start = j + 1
                j += 1
            out.append(expand(R.choice(parts)))
            i = j
        else:
            out.append(c)
            i += 1
    return "".join(out)


def an(w):
    return ("an " if re.match(r"(?i)(a|e|i|o|u(?!n[ai]|s))", w) else "a ") + w


def cap(s):
    return s[:1].upper() + s[1:]


def tidy(s):
    s = re.sub(r" +", " ", s)
    s = re.sub(r" ([.,!?;:])", r"\1", s)
    s = re.sub(r"\n +", "\n", s)
    s = re.sub(r" +\n", "\n", s)

    def up(m):
        return m.group(1) + m.group(2).upper()

    s = re.sub(r'((?:^|(?<!\.\.)[.!?]"? |\n)"?)([a-z])', up, s)
    # speech that is followed by its speaker keeps a small letter: '"Run!" said the fox'
    s = re.sub(
        r'([!?]" )(Said|Asked|Cried|Shouted|Whispered|Answered|Called|Replied|Laughed|Thought|Sang|Roared|(?:He|She|They) (?=said|asked|cried|shouted|whispered|called|laughed|sang|thought))',
        lambda m: m.group(1) + m.group(2)[0].lower() + m.group(2)[1:],
        s,
    )
    s = re.sub(
        r'([!?]" )The (\w+ (?:\w+ )?(?:said|asked|cried|shouted|whispered|called|answered)\b)', r"\1the \2", s
    )
    return s.strip()


# ------------------------------------------------------------------ words
# animal: sound, baby, home, food, legs, size rank, a place to live in stories
ANIMALS = {
    "cat": ("meow", "kitten", "a house", "fish", 4, 20, "in a yellow house"),
    "dog": ("woof", "puppy", "a kennel", "bones", 4, 30, "in a little kennel"),
    "cow": ("moo", "calf", "a barn", "grass", 4, 80, "on a farm"),
    "pig": ("oink", "piglet", "a pigsty", "corn", 4, 50, "on a farm"),
    "sheep": ("baa", "lamb", "a meadow", "grass", 4, 45, "on a green hill"),
    "goat": ("meh", "kid", "a barn", "leaves", 4, 44, "on a rocky hill"),
    "horse": ("neigh", "foal", "a stable", "hay", 4, 82, "in a stable"),
    "donkey": ("hee-haw", "foal", "a stable", "hay", 4, 70, "by an old mill"),
    "duck": ("quack", "duckling", "a pond", "seeds", 2, 14, "by a pond"),
    "goose": ("honk", "gosling", "a pond", "grass", 2, 18, "by a pond"),
    "hen": ("cluck", "chick", "a henhouse", "corn", 2, 13, "on a farm"),
    "rooster": ("cock-a-doodle-doo", "chick", "a henhouse", "corn", 2, 14, "on a farm"),
    "mouse": ("squeak", "pup", "a hole", "cheese", 4, 5, "in a hole under the stairs"),
    "rabbit": ("a soft squeak", "kit", "a burrow", "carrots", 4, 15, "in a burrow under a hill"),
    "fox": ("yip", "cub", "a den", "berries and mice", 4, 25, "in a den under an oak tree"),
    "wolf": ("howl", "pup", "a den", "meat", 4, 40, "in the dark woods"),
    "bear": ("growl", "cub", "a cave", "honey and berries", 4, 85, "in a cave in the mountains"),
    "lion": ("roar", "cub", "the grassland", "meat", 4, 78, "on the wide grassland"),
    "tiger": ("roar", "cub", "the jungle", "meat", 4, 79, "in the jungle"),
    "elephant": ("a trumpet", "calf", "the grassland", "leaves", 4, 97, "near a big river"),
    "monkey": ("ooh-ooh", "infant", "the jungle", "bananas", 2, 28, "in the top of a tall tree"),
    "giraffe": ("a hum", "calf", "the grassland", "leaves", 4, 92, "on the wide grassland"),
    "zebra": ("a bark", "foal", "the grassland", "grass", 4, 76, "on the wide grassland"),
    "hippo": ("a grunt", "calf", "a river", "grass", 4, 94, "in a muddy river"),
    "frog": ("ribbit", "tadpole", "a pond", "flies", 4, 6, "on a lily pad"),
    "turtle": ("a hiss", "hatchling", "a pond", "leaves", 4, 16, "by a quiet lake"),
    "owl": ("hoot", "owlet", "a tree", "mice", 2, 12, "in an old hollow tree"),
    "crow": ("caw", "chick", "a nest", "seeds and worms", 2, 11, "in a tall pine tree"),
    "robin": ("chirp", "chick", "a nest", "worms", 2, 7, "in a nest in the hedge"),
    "parrot": ("squawk", "chick", "the jungle", "nuts and fruit", 2, 11, "in the jungle"),
    "penguin": ("a honk", "chick", "the cold south", "fish", 2, 19, "on the ice"),
    "seal": ("a bark", "pup", "the sea", "fish", 0, 55, "on a rocky beach"),
    "whale": ("a song", "calf", "the sea", "tiny sea animals", 0, 100, "in the deep blue sea"),
    "dolphin": ("a click", "calf", "the sea", "fish", 0, 62, "in the warm sea"),
    "bee": ("buzz", "larva", "a hive", "nectar", 6, 2, "in a hive in an apple tree"),
    "ant": ("no sound that we can hear", "larva", "an anthill", "crumbs and seeds", 6, 1, "in an anthill"),
    "squirrel": ("a chatter", "kit", "a tree", "nuts", 4, 10, "in a hollow oak tree"),
    "hedgehog": ("a snuffle", "hoglet", "a nest of leaves", "worms", 4, 9, "under a heap of leaves"),
    "badger": ("a growl", "cub", "a burrow", "worms", 4, 26, "in a deep burrow"),
    "otter": ("a whistle", "pup", "a river", "fish", 4, 22, "on the bank of a river"),
    "deer": ("a bleat", "fawn", "the forest", "leaves", 4, 65, "in the green forest"),
    "mole": ("a squeak", "pup", "a tunnel", "worms", 4, 6, "in a tunnel under a garden"),
    "snail": ("no sound", "baby snail", "its shell", "leaves", 0, 2, "under a cabbage leaf"),
    "butterfly": ("no sound", "caterpillar", "a garden", "nectar", 6, 3, "in a flower garden"),
    "panda": ("a bleat", "cub", "the bamboo forest", "bamboo", 4, 75, "in a bamboo forest"),
    "koala": ("a grunt", "joey", "a gum tree", "leaves", 4, 21, "in a gum tree"),
    "kangaroo": ("a cough", "joey", "the grassland", "grass", 2, 60, "in the dry red land"),
    "camel": ("a grunt", "calf", "the desert", "dry plants", 4, 86, "in the desert"),
    "crab": ("a click", "baby crab", "the beach", "small sea animals", 10, 5, "under a rock on the beach"),
    "octopus": ("no sound", "baby octopus", "the sea", "crabs", 8, 24, "in a cave under the sea"),
    "swan": ("a honk", "cygnet", "a lake", "water plants", 2, 23, "on a silver lake"),
    "bat": ("a squeak", "pup", "a cave", "insects", 2, 7, "in an old bell tower"),
    "beaver": ("a whine", "kit", "a lodge", "bark", 4, 24, "in a lodge on the river"),
    "raccoon": ("a chatter", "kit", "a hollow tree", "fruit and fish", 4, 19, "in a hollow tree"),
    "spider": ("no sound", "spiderling", "a web", "flies", 8, 2, "in the corner of a barn"),
    "caterpillar": ("no sound", "egg", "a leaf", "leaves", 6, 2, "on a green leaf"),
}
PEOPLE = {
    "girl": "f",
    "boy": "m",
    "baker": "",
    "farmer": "",
    "sailor": "",
    "king": "m",
    "queen": "f",
    "prince": "m",
    "princess": "f",
    "knight": "",
    "wizard": "m",
    "pirate": "",
    "gardener": "",
    "teacher": "",
    "painter": "",
    "shepherd": "",
    "fisherman": "m",
    "astronaut": "",
    "inventor": "",
    "clockmaker": "",
    "miller": "",
    "tailor": "",
    "cook": "",
    "singer": "",
    "dancer": "",
    "doctor": "",
    "carpenter": "",
    "shoemaker": "",
    "lighthouse keeper": "",
    "bus driver": "",
    "firefighter": "",
    "librarian": "",
}
CREATURES = [
    "robot",
    "dragon",
    "unicorn",
    "ghost",
    "giant",
    "fairy",
    "mermaid",
    "snowman",
    "teddy bear",
    "scarecrow",
    "elf",
    "dinosaur",
    "cloud",
    "star",
    "toy train",
    "little boat",
    "troll",
    "goblin",
    "doll",
    "kite",
    "pumpkin",
    "teapot",
    "tree",
    "car",
    "tractor",
]
PLACE_OF = {
    "robot": "in a workshop",
    "dragon": "in a cave on a mountain",
    "unicorn": "in a silver forest",
    "ghost": "in an old house",
    "giant": "in a castle in the clouds",
    "fairy": "inside a bluebell",
    "mermaid": "in a palace under the sea",
    "snowman": "in a white garden",
    "teddy bear": "on a shelf",
    "scarecrow": "in a field of corn",
    "elf": "in a house shaped like a mushroom",
    "dinosaur": "in a warm valley",
    "cloud": "high above the hills",
    "star": "in the night sky",
    "toy train": "in a toy box",
    "little boat": "in a small harbor",
    "troll": "under a bridge",
    "goblin": "in a cave",
    "doll": "in a toy shop",
    "kite": "in a cupboard",
    "pumpkin": "in a garden",
    "teapot": "in a warm kitchen",
    "tree": "on top of a hill",
    "car": "in a red garage",
    "tractor": "on a farm",
}
PEOPLE_PLACE = [
    "in a small village",
    "in a little town by the sea",
    "in a cottage near the woods",
    "in a tall house on a busy street",
    "at the end of a long road",
    "on a small island",
    "in a quiet valley",
    "near a wide river",
    "in a house with a blue door",
]
NAMES_F = "Lily Mia Anna Tilly Rosie Daisy Luna Nora Ella Ruby Molly Poppy Hazel Ivy Clara Maya Zoe Wendy Greta Olive Penny Sally Bella Pearl Fern Willow Mina Tess Amy Dora Lola Cleo Nina Flora Hanna Juno Kira Lucy Sue Rita Gwen Vera Ada Bea Coco Dot".split()
NAMES_M = "Tim Ben Max Tom Sam Leo Finn Oscar Milo Jack Toby Hugo Felix Rufus Otto Barney Gus Ned Archie Bruno Theo Jasper Ollie Percy Monty Alfie Rex Bob Pip Remy Kai Arlo Nico Fred Walter Henry Boris Eddie Louis Marty Ravi Omar Juan Kofi".split()
ADJ_H = [
    "little",
    "small",
    "young",
    "tiny",
    "clever",
    "brave",
    "shy",
    "kind",
    "curious",
    "cheerful",
    "gentle",
    "busy",
    "sleepy",
    "playful",
    "quiet",
    "funny",
    "friendly",
    "hungry",
    "old",
    "big",
    "silly",
    "grumpy",
    "lonely",
    "proud",
    "careful",
    "lazy",
]
HOBBY = [
    "sing",
    "dance",
    "read",
    "paint",
    "draw",
    "climb trees",
    "count the stars",
    "swim",
    "tell jokes",
    "look at the clouds",
    "bake cakes",
    "run fast",
    "collect shells",
    "jump in puddles",
    "listen to stories",
    "play hide and seek",
    "build things",
    "pick berries",
    "explore",
    "watch the rain",
    "help others",
    "sleep in the sun",
    "play with friends",
    "ask questions",
    "make music",
    "roll down hills",
]
PLACES = {
    "the forest": "in",
    "the garden": "in",
    "the park": "in",
    "the beach": "at",
    "the meadow": "in",
    "the market": "at",
    "the river": "by",
    "the lake": "by",
    "the mountain": "on",
    "the village": "in",
    "the old castle": "in",
    "the library": "in",
    "the farm": "on",
    "the hill": "on",
    "the desert": "in",
    "the jungle": "in",
    "the cave": "in",
    "the island": "on",
    "the city": "in",
    "the school": "at",
    "the valley": "in",
    "the attic": "in",
    "the harbor": "at",
    "the snow": "in",
    "the orchard": "in",
    "the train station": "at",
    "the kitchen": "in",
    "the barn": "in",
    "the moon": "on",
    "the playground": "on",
    "the swamp": "in",
    "the old mill": "at",
    "the lighthouse": "at",
    "the bridge": "by",
    "the zoo": "at",
    "the museum": "in",
    "the pond": "by",
    "the toy shop": "in",
    "the backyard": "in",
    "the woods": "in",
}
# objects: kind -> words; what each kind is for
OBJ = {
    "light": [
        "lamp",
        "lantern",
        "candle",
        "flashlight",
        "glowing stone",
        "magic lamp",
        "jar of fireflies",
        "little star",
    ],
    "sound": [
        "drum",
        "bell",
        "whistle",
        "flute",
        "trumpet",
        "horn",
        "guitar",
        "violin",
        "piano",
        "music box",
        "harp",
        "banjo",
    ],
    "box": [
        "basket",
        "bucket",
        "bag",
        "box",
        "jar",
        "bottle",
        "wagon",
        "cart",
        "backpack",
        "cup",
        "pot",
        "chest",
        "suitcase",
        "bowl",
        "barrel",
    ],
    "warm": ["blanket", "scarf", "coat", "hat", "sweater", "pillow", "quilt", "cloak", "jacket"],
    "boat": ["boat", "raft", "canoe", "paper boat", "log", "sailboat"],
    "climb": ["ladder", "rope", "vine", "net"],
    "rain": ["umbrella", "raincoat", "tent", "big leaf"],
    "find": ["map", "compass", "telescope", "magnifying glass", "old clock", "book", "pair of glasses"],
    "toy": [
        "ball",
        "kite",
        "doll",
        "toy car",
        "puzzle",
        "balloon",
        "marble",
        "spinning top",
        "yo-yo",
        "swing",
        "toy robot",
        "teddy bear",
        "skateboard",
        "bicycle",
        "sled",
        "scooter",
        "toy train",
        "jump rope",
    ],
    "treasure": [
        "ring",
        "crown",
        "key",
        "coin",
        "shell",
        "feather",
        "button",
        "mirror",
        "stone",
        "gem",
        "pearl",
        "necklace",
        "letter",
        "picture",
        "watch",
        "ribbon",
        "mask",
        "medal",
        "spoon",
        "crystal",
        "wand",
        "flag",
        "egg",
        "coin purse",
    ],
    "bake": [
        "cake",
        "cookie",
        "pie",
        "pancake",
        "loaf of bread",
        "cupcake",
        "muffin",
        "pizza",
        "cherry pie",
        "birthday cake",
    ],
    "food": [
        "apple",
        "pear",
        "sandwich",
        "carrot",
        "banana",
        "peach",
        "pumpkin",
        "jar of honey",
        "bowl of soup",
        "watermelon",
        "piece of cheese",
        "lemon",
        "bag of nuts",
        "tomato",
    ],
    "plant": ["seed", "flower", "rose", "sunflower", "tulip", "acorn", "bean", "cactus", "little tree"],
    "tool": [
        "hammer",
        "brush",
        "pencil",
        "needle",
        "broom",
        "paintbrush",
        "shovel",
        "bottle of glue",
        "computer",
        "phone",
        "radio",
        "camera",
        "fan",
        "pen",
        "saw",
        "wheel",
        "kettle",
        "chair",
        "table",
        "vase",
        "window",
        "rug",
        "shoe",
        "boot",
        "truck",
        "train",
        "plane",
        "rocket",
        "tractor",
    ],
}
USE = {
    "lamp": "to make light",
    "lantern": "to make light",
    "candle": "to make light",
    "flashlight": "to see in the dark",
    "drum": "to make music",
    "bell": "to make a ringing sound",
    "whistle": "to make a loud sound",
    "flute": "to make music",
    "guitar": "to make music",
    "violin": "to make music",
    "piano": "to make music",
    "basket": "to carry things",
    "bucket": "to carry water",
    "bag": "to carry things",
    "box": "to keep things in",
    "bottle": "to hold water",
    "cup": "to drink from",
    "pot": "to cook in",
    "bowl": "to eat soup from",
    "backpack": "to carry things on your back",
    "suitcase": "to pack clothes for a trip",
    "blanket": "to keep warm in bed",
    "scarf": "to keep your neck warm",
    "coat": "to keep warm outside",
    "hat": "to keep your head warm",
    "pillow": "to rest your head on",
    "boat": "to cross the water",
    "raft": "to float on the water",
    "ladder": "to climb up high",
    "rope": "to tie things together",
    "umbrella": "to stay dry in the rain",
    "raincoat": "to stay dry in the rain",
    "tent": "to sleep outside",
    "map": "to find the way",
    "compass": "to find north",
    "telescope": "to look at the stars",
    "magnifying glass": "to look at small things",
    "clock": "to tell the time",
    "watch": "to tell the time",
    "book": "to read stories",
    "key": "to open a lock",
    "mirror": "to look at yourself",
    "spoon": "to eat soup",
    "fork": "to eat food",
    "knife": "to cut bread",
    "hammer": "to hit nails",
    "brush": "to make your hair neat",
    "pencil": "to write and draw",
    "pen": "to write",
    "needle": "to sew",
    "broom": "to sweep the floor",
    "paintbrush": "to paint",
    "shovel": "to dig",
    "glue": "to stick things together",
    "scissors": "to cut paper",
    "computer": "to write, play and look things up",
    "phone": "to talk with someone far away",
    "camera": "to take pictures",
    "fan": "to keep cool",
    "chair": "to sit on",
    "bed": "to sleep in",
    "saw": "to cut wood",
    "kettle": "to boil water",
    "vase": "to put flowers in",
    "soap": "to wash your hands",
    "towel": "to dry yourself",
    "bicycle": "to ride",
    "sled": "to slide on the snow",
    "wheel": "to help things roll",
    "toothbrush": "to clean your teeth",
    "oven": "to bake bread",
    "stove": "to cook food",
    "bridge": "to cross a river",
    "boots": "to keep your feet dry",
    "gloves": "to keep your hands warm",
    "glasses": "to see better",
    "ball": "to play with",
    "stamp": "to send a letter",
}
OADJ = [
    "shiny",
    "red",
    "blue",
    "golden",
    "old",
    "little",
    "big",
    "green",
    "wooden",
    "silver",
    "pretty",
    "strange",
    "tiny",
    "yellow",
    "magic",
    "dusty",
    "round",
    "purple",
    "new",
    "broken",
    "beautiful",
    "heavy",
    "white",
    "pink",
    "striped",
    "funny",
]
FEEL = ["happy", "glad", "proud", "cheerful", "full of joy", "warm inside"]
FOODS = [
    "berry soup",
    "warm bread",
    "apple pie",
    "honey cakes",
    "vegetable soup",
    "pancakes with honey",
    "cheese and bread",
    "cookies and milk",
    "roasted corn",
    "cherry jam",
    "carrot cake",
    "pumpkin soup",
]
WEATHER = [
    "sunny",
    "bright",
    "warm",
    "cool",
    "windy",
    "foggy",
    "rainy",
    "snowy",
    "cloudy",
    "golden",
    "quiet",
    "frosty",
]


def obj_kind(o):
    for k, v in OBJ.items():
        if o in v:
            return k
    return "treasure"


def person(kind=None, avoid=()):
    """a character: noun, name, pronouns, place to live"""
    while True:
        k = kind or R.choices(["animal", "person", "creature", "child"], [55, 14, 12, 19])[0]
        if k == "animal":
            noun = R.choice(list(ANIMALS))
            place = ANIMALS[noun][6]
            g = R.choice("fm")
        elif k == "person":
            noun = R.choice([p for p in PEOPLE if p not in ("girl", "boy")])
            place = R.choice(PEOPLE_PLACE)
            g = PEOPLE[noun] or R.choice("fm")
        elif k == "child":
            noun = R.choice(["girl", "boy"])
            place = R.choice(PEOPLE_PLACE)
            g = PEOPLE[noun]
        else:
            noun = R.choice(CREATURES)
            place = PLACE_OF[noun]
            g = R.choice("fm")
        if noun not in avoid:
            break
    if noun.startswith("little"):
        return dict(
            noun=noun, g=g, place=place, kind=k, adj=R.choice(["brave", "clever", "young", "shy", "kind"])
        )
    if noun in ("hen", "cow", "mermaid", "doll"):
        g = "f"
    if noun in ("rooster", "king", "wizard", "snowman"):
        g = "m"
    return dict(noun=noun, g=g, place=place, kind=k, adj=R.choice(ADJ_H[:6] if R.random() < 0.45 else ADJ_H))


def name_it(c, taken):
    while True:
        n = R.choice(NAMES_F if c["g"] == "f" else NAMES_M)
        if n not in taken:
            break
    c["name"] = n
    return c


PR = {"f": ("she", "her", "her", "herself"), "m": ("he", "him", "his", "himself")}


class S:
    """the state of one story"""

    def __init__(s, hero=None, obj=None, place=None):
        s.a = name_it(hero or person(), ())
        s.b = name_it(person(avoid=(s.a["noun"],)), (s.a["name"],))
        s.c = name_it(person("animal", avoid=(s.a["noun"], s.b["noun"])), (s.a["name"], s.b["name"]))
        s.o = obj or R.choice(OBJ[R.choice(list(OBJ))])
        s.place = place or R.choice(list(PLACES))
        s.oadj = R.choice([w for w in OADJ if w not in s.o.split()])
        s.vars = {}
        s.food = R.choice(FOODS)

    def d(s):
        d = {}
        for t, c in (("", s.a), ("b", s.b), ("c", s.c)):
            he, him, his, self_ = PR[c["g"]]
            d.update(
                {
                    t + "N": c["name"],
                    t + "n": c["noun"],
                    t + "he": he,
                    t + "him": him,
                    t + "his": his,
                    t + "self": self_,
                    t + "He": cap(he),
                    t + "His": cap(his),
                    t + "adj": c["adj"],
                    t + "home": c["place"],
                    t + "an": an(c["adj"] + " " + c["noun"]),
                }
            )
        d.update(
            o=s.o,
            ao=an(s.o),
            oadj=s.oadj,
            aoo=an(s.oadj + " " + s.o),
            pl=s.place,
            inpl=PLACES[s.place] + " " + s.place,
            feel=R.choice(FEEL),
            food=s.food,
            wx=R.choice(WEATHER),
            hobby=R.choice(HOBBY),
        )
        d.update(s.vars)
        return d

    def f(s, t):
        t = expand(t)
        d = s.d()
        return re.sub(r"\{(\w+)\}", lambda m: str(d[m.group(1)]), t)


OPEN = [
    "Once upon a time, there was {an} named {N}.",
    "Once upon a time, {an} named {N} lived {home}.",
    "There once was {an} called {N}.",
    "Long ago, {an} named {N} lived {home}.",
    "{N} was {an} who lived {home}.",
    "[Far away|Not so long ago], there lived {an} [called|named] {N}.",
    "This is the story of {N}, {an}.",
    "{N} the {n} lived {home}.",
    "{home} lived {an} named {N}.",
    "In a place not far from here, there was {an}. {His} name was {N}.",
]
LIKE = [
    "{N} [loved|liked] to {hobby}.",
    "[Every day|Every morning|Every evening], {he} liked to {hobby}.",
    "More than anything, {N} loved to {hobby}.",
    "",
    "{N} had many friends.",
    "",
    "",
]
LIKE2 = [
    "{He} was [always|very] [friendly|curious|kind|busy|cheerful].",
    "Everybody {inpl} knew {N}.",
    "",
    "",
    "",
    "",
    "",
]
WHEN = "[One day|One {wx} day|One {wx} morning|One [{wx}|] afternoon|Early one morning|On a {wx} day]"
END = [
    "[And|] they lived happily [ever after|together].",
    "The end.",
    "That night, {N} slept [very well|with a smile].",
    "And {N} never forgot that day.",
    "It was [the best day ever|a wonderful day].",
    "{N} smiled all the way home.",
    "From that day on, {N} and {bN} were [best|good|the best of] friends.",
    "",
    "",
    "",
]
MEET = [
    'On the way, {he} met {can} named {cN}. "Where are you going?" asked {cN}. "{goal}," said {N}. "[Good luck|Be careful|How nice|Have fun]!" said the {cn}.',
    '{cN} the {cn} saw {him} pass by. "[Hello|Good day|Hi], {N}!" called {cN}. "[Hello|Good day|Hi], {cN}! {goal}," said {N}, and {he} [hurried|walked] on.',
    "[The sun was shining|The wind was blowing|Birds were singing in the trees|The path was long], and {N} [sang a little song|hummed a tune|felt brave|did not stop].",
    "After a while, {he} sat down to rest and ate some {food}. Then {he} went on.",
    "",
    "",
    "",
]

PLOTS = {}


def plot(moral, kinds=None):
    def deco(fn):
        PLOTS[fn.__name__] = (fn, moral, kinds)
        return fn

    return deco


def P(*xs):
    return [x for x in xs if x]


@plot("asking for help")
def lost(s):
    s.vars.update(
        goal="I am looking for my {o}".replace("{o}", s.o),
        where=R.choice(
            [
                "under a bush",
                "behind a big stone",
                "under the bed",
                "in a hollow log",
                "between two roots",
                "on top of a shelf",
                "in the tall grass",
                "beside a fence",
                "under a pile of leaves",
                "at the bottom of a basket",
            ]
        ),
    )
    return P(
        "{N} had {aoo}. [It was {his} favorite thing in the whole world|{He} took it everywhere|It was a gift from {his} grandmother|{He} had found it long ago and loved it very much].",
        WHEN
        + ', {N} [woke up and the {o} was gone|looked for the {o}, but it was not there|could not find the {o} anywhere]. "[Oh no|Oh dear]! Where is my {o}?" {he} [cried|said]. {He} looked {inpl}, [but it was not there|but {he} found only dust|and {he} looked at home], and {he} felt [very sad|like crying].',
        "MEET",
        'Then {he} met {bN} the {bn}. "Why are you so sad?" asked {bN}. "I lost my {o}," said {N}. "[Let me help you|We can look together|Four eyes see more than two]," said {bN}.',
        '[They looked high and low|Together they looked everywhere|They walked slowly and looked at every spot]. {bN} looked up, and {N} looked down. [At last|Suddenly|After a long time], {bN} [called|shouted], "[Look|Come here|I see something]!" There was the {o}, {where}!',
        '{N} [jumped for joy|hugged {bN}|laughed and laughed]. "Thank you, {bN}! [I could not have found it alone|You are a true friend|You are so kind]." {bN} smiled. "[Friends help each other|It is easier together|You can always ask me]!" {he0}'.replace(
            "{he0}", ""
        ),
    ), dict(
        q=[
            ("What did {N} lose?", "{N} lost {his} {o}."),
            ("Who helped {N}?", "{bN} the {bn} helped {N}."),
            ("Where was the {o}?", "The {o} was {where}."),
        ],
        sum="{N} the {n} loses {his} {o}. {bN} the {bn} helps {him} look, and they find it {where}.",
    )


@plot("honesty")
def owner(s):
    s.vars.update(goal="I want to find out who lost this %s" % s.o)
    return P(
        WHEN
        + ', {N} was walking {inpl} when {he} [saw something on the ground|found something|stepped on something]. It was {aoo}! "[How pretty|What a nice {o}|Oh, look at this]!" said {N}. "But [it is not mine|it must belong to someone]. Somebody must be [sad|looking for it]."',
        "[{N} wanted to keep it, but {he} knew that was not right.|{He} thought about it for a moment. Then {he} knew what to do.|It would be nice to keep it. But {N} was honest.] {He} [put the {o} in {his} bag|picked it up carefully] and went to find the owner.",
        "MEET",
        'First {he} asked {cN} the {cn}. "Is this your {o}?" "No," said {cN}, "but {bN} the {bn} [was crying this morning|was looking for something]. [Go and ask {bhim}|You should ask {bhim}]."',
        'So {N} went to {bN}. "[Hello, {bN}. Is this your {o}?|Excuse me, did you lose {ao}?]" {bN} [looked up|opened {bhis} eyes wide]. "[Yes! That is my {o}!|My {o}! You found it!] [I looked for it everywhere.|I was so sad without it.] Thank you, {N}!"',
        "{bN} was so happy that {bhe} [gave {N} some {food}|asked {N} to stay for tea|danced around {N}|gave {N} a big hug]. [They ate it together and talked until the sun went down.|They talked and laughed all afternoon.] {N} had no {o} now, but {he} had a new friend. [And that was much better.|That is worth more than {ao}.]",
    ), dict(
        q=[
            ("What did {N} find?", "{N} found {aoo}."),
            ("Who was the owner of the {o}?", "The {o} belonged to {bN} the {bn}."),
            ("Did {N} keep the {o}?", "No, {N} gave it back to {bN}."),
        ],
        sum="{N} the {n} finds {aoo} and gives it back to its owner, {bN} the {bn}. They become friends.",
    )


@plot("courage", ("light",))
def dark(s):
    s.vars.update(
        goal="I am going home before it gets dark",
        noise=R.choice(["a strange sound", "a soft cry", "a tap, tap, tap", "a low moan", "a small voice"]),
    )
    return P(
        "{N} [was afraid of|did not like] the dark. [When the sun went down, {he} hid under the blanket.|Every night {he} kept one eye open.|The shadows looked like monsters.]",
        "{He} had {aoo}, and [every night|in the evening] {he} [put it beside {his} bed|let it shine]. Its [soft|warm|golden] light made {him} feel [safe|better].",
        'One night, {N} heard {noise} [from outside|coming from {pl}]. "Who is there?" {he} whispered. "[Help|Please help me]! I am lost and I cannot see," said a voice in the dark.',
        "{N} was [scared|afraid]. {His} heart went thump, thump, thump. But someone needed help. {He} took the {o} and went out into the night. The light [danced on the path|made the shadows small|showed {him} the way].",
        'There, {inpl}, sat {ban} named {bN}. [{bHe2} was cold and shaking.|Tears ran down {bhis} face.] "[Do not be afraid|Do not cry]," said {N}. "I have {ao}. [We can walk home together|I will bring you home]."'.replace(
            "{bHe2}", cap(PR[s.b["g"]][0])
        ),
        "They walked side by side, and the {o} shone [brightly|like a little moon]. [They saw that the monsters were only trees|The scary shapes were only bushes and stones|An owl said hello to them]. Soon they were [home|safe at home].",
        '"You are very brave," said {bN}. {N} thought about it. {He} was still a little afraid of the dark. But [{he} knew now that being brave means helping even when you are scared|it was not so bad with a friend and a light|{he} had found out that the night is full of friends, too].',
    ), dict(
        q=[
            ("What was {N} afraid of?", "{N} was afraid of the dark."),
            ("Who was lost in the dark?", "{bN} the {bn} was lost."),
            ("What did {N} use to see in the dark?", "{N} used the {o}."),
        ],
        sum="{N} the {n} is afraid of the dark, but {he} takes {his} {o} and helps {bN} the {bn}, who is lost in the night.",
    )


@plot("helping each other", ("boat", "climb", "box", "tool"))
def river(s):
    why = R.choice(
        [
            ("my grandmother is ill", "{bhis} grandmother was ill"),
            ("there are sweet berries over there", "there were sweet berries on the other side"),
            ("there is a big party over there", "there was a big party on the other side"),
            (
                "I want to find out where the music comes from",
                "{bhe} wanted to find out where the music came from",
            ),
            ("my little brother waits for me", "{bhis} little brother was waiting there"),
        ]
    )
    s.vars.update(goal="I want to get to the other side of the river", say=why[0], why=s.f(why[1]))
    return P(
        WHEN
        + ', {N} came to a wide river. On the bank sat {bN}, {ban}. "[What is wrong|Why do you sit here]?" asked {N}. "I must get to the other side, because {say}," said {bN}. "But the water is [deep and cold|too fast|too deep for me]."',
        '{N} looked at the river. {He} [thought and thought|scratched {his} head]. "[I know|I have an idea]!" {he} said at last. "At home I have {aoo}. [Wait here|I will be right back]!"',
        "MEET",
        'Soon {N} came back with the {o}. [It was heavy, but {he} did not give up.|{He} was out of breath.] "[How can {ao} help us|What do we do with {ao}]?" asked {bN}. "[Watch|You will see]," said {N}. They [worked all morning|worked side by side], and with the {o} and some [strong branches|old boards] they made [a small bridge|a way across the water].',
        '[Slowly, slowly they crossed the river.|Step by step they went across.|The water splashed and the wind blew, but they held on to each other.] {bN} [almost slipped|closed {bhis} eyes], but {N} held {bhis} hand. "[Do not look down|We are almost there]," {he} said.'.replace(
            "hand",
            (
                "hand"
                if s.b["kind"] in ("person", "child")
                else (
                    "paw"
                    if s.b["kind"] == "animal" and ANIMALS[s.b["noun"]][4] == 4
                    else "hand" if s.b["kind"] == "creature" else "side"
                )
            ),
        ),
        'When they were on the other side, {bN} [cheered|danced in the grass|laughed out loud]. "We did it! [You had the idea, and we both did the work|Thank you for your help, {N}]." And {N} was {feel}.',
    ), dict(
        q=[
            ("Why did {bN} want to cross the river?", "{bN} wanted to cross because {why}."),
            ("What did {N} bring?", "{N} brought {aoo}."),
            ("Did they cross the river?", "Yes, they crossed the river together."),
        ],
        sum="{bN} the {bn} cannot cross the river. {N} the {n} brings {aoo}, and together they get to the other side.",
    )


@plot("sharing", ("rain", "warm", "food", "light", "bake"))
def storm(s):
    s.vars.update(goal="I am on my way home")
    return P(
        WHEN
        + ", {N} went for a walk {inpl}. {He} took {his} {oadj} {o} [with {him}|along]. [The sky was blue.|There was not a cloud in the sky.]",
        'But soon [dark clouds came|the sky turned gray|the wind began to blow]. [Drip, drop!|Boom!|Splash!] It began to [rain|rain hard|storm]. {N} ran under a [big tree|rock|little roof] and held the {o} close. "[I am lucky|Good thing I have my {o}]," {he} said.',
        "Then {he} saw {bN} the {bn}. {bN} was [wet and cold|shaking in the wind|all alone in the rain]. {bhe2} had nothing to [eat or wear|keep {bhim} warm and dry].".replace(
            "{bhe2}", cap(PR[s.b["g"]][0])
        ),
        '{N} looked at the {o}. [There was not much for two.|It was only a small {o}.] "Come here!" {he} [called|shouted]. "[We can share my {o}|There is room for two|What is mine is yours]!" {bN} came and sat down beside {him}. [And then came {cN} the {cn}, who was wet too. "Come, we can share with three," said {N}.|]',
        "They sat close together and told [stories|jokes] until the rain stopped. [It was warm and cozy.|Nobody was cold any more.] Then a rainbow came out, [red, yellow, green and blue|bright and big], over {pl}.",
        '"[You shared your {o} with me|You were so kind to me]," said {bN}. "[Tomorrow I will bake you a cake|I will never forget it|Next time I will share with you]." {N} smiled. [A thing that is shared is twice as good.|Sharing made the rainy day a good day.]',
    ), dict(
        q=[
            ("What did {N} share?", "{N} shared {his} {o}."),
            (
                "What was the weather like?",
                "First it was nice, and then it rained. At the end there was a rainbow.",
            ),
            ("Who was wet and cold?", "{bN} the {bn} was wet and cold."),
        ],
        sum="In the rain, {N} the {n} shares {his} {o} with {bN} the {bn}. At the end they see a rainbow.",
    )


@plot("practice", ("sound", "toy", "tool"))
def practice(s):
    k = obj_kind(s.o)
    verb = (
        "play the %s" % s.o
        if k == "sound"
        else R.choice(["use the %s" % s.o, "play with the %s" % s.o]) if k != "tool" else "use the %s" % s.o
    )
    s.vars.update(
        goal="I am going to practice",
        verb=verb,
        bad={
            "sound": R.choice(["It made a terrible noise", "It went squeak and honk", "The cats ran away"]),
            "toy": R.choice(["It fell down again and again", "It flew into a tree", "It rolled away"]),
            "tool": R.choice(["It went all wrong", "Everything fell over", "It made a big mess"]),
        }[k if k in ("sound", "toy", "tool") else "tool"],
    )
    return P(
        'For {his} birthday, {N} got {aoo}. "[Now I will learn to {verb}|I want to {verb}]!" {he} said. {He} was very excited.',
        '{He} tried it {inpl}. But [it was not easy|it was hard]. {bad}! {cN} the {cn} laughed. "[You will never learn it|That was awful|Stop it]," said {cN}. {N} felt [sad|ashamed] and [put the {o} away|went home].',
        '{bN}, {ban}, [sat down beside {him}|saw {his} sad face]. "[Do you know how I learned to {hobby}|Nobody can do it on the first day]?" {bhe} said. "I tried every day. [A little bit each day|Step by step], and one day I could do it."'.replace(
            'Nobody can do it on the first day]?"', 'Do you think anybody can do it on the first day]?"'
        ),
        "So {N} tried again. {He} tried on Monday, and it was bad. {He} tried on Tuesday, and it was [a little better|not so bad]. {He} tried on Wednesday and Thursday and Friday. [{bN} came to help and clapped every time.|{He} did not give up.|{His} arms were tired, but {he} went on.]",
        'On Sunday there was a [big party|fair|picnic] {inpl}. Everybody came. {N} [took a deep breath|was nervous] and began to {verb}. It was [wonderful|perfect|just right]! [Everybody danced and cheered.|All the people clapped.|Even {cN} stopped laughing and stared.] "I am sorry that I laughed," said {cN}. "[Can you teach me|Will you show me how]?"',
        '"Yes," said {N}. "[But you must practice every day|You only need to try again and again|It takes time, but you can do it]!"',
    ), dict(
        q=[
            ("What did {N} get for {his} birthday?", "{N} got {aoo}."),
            ("Who laughed at {N}?", "{cN} the {cn} laughed at {N}."),
            ("How did {N} learn it?", "{N} practiced every day."),
        ],
        sum="{N} the {n} wants to {verb}. At first it goes wrong, but {he} practices every day, and in the end everybody claps.",
    )


@plot("patience", ("plant",))
def seed(s):
    grow = {
        "acorn": "oak tree",
        "bean": "bean plant",
        "seed": R.choice(["sunflower", "apple tree", "pumpkin plant"]),
        "little tree": "big tree",
    }.get(s.o, s.o if s.o != "flower" else "field of flowers")
    s.vars.update(goal="I want to plant my %s" % s.o, grow=grow)
    return P(
        WHEN
        + ', {bN} the {bn} gave {N} {aoo}. "[Plant it|Put it in the ground]{0}, give it water every day, and wait," said {bN}. "[Something good will come|You will see]."'.replace(
            "{0}", R.choice([" in the soil", " in a sunny spot", ""])
        ),
        '{N} [dug a small hole|made a little bed of soft soil] {inpl} and planted the {o}. {He} gave it water. Then {he} sat down and waited. {He} waited one hour. [Nothing happened.|Nothing moved.] "[Why does it not grow|Hurry up, {o}]!" said {N}.'.replace(
            "Why does it not grow|", "Please grow|"
        ),
        'The next day {he} [sang a song to it|gave it water again|talked to it]. [Still nothing.|Nothing happened.] {cN} the {cn} came by. "[It will never grow|You are wasting your time|Come and play]," said {cN}. But {N} shook {his} head. "[I will wait|{bN} told me to wait]," {he} said.',
        'Days went by. The sun shone, and the rain fell. Then, one morning, {N} saw [a tiny green tip|something small and green]. "It is growing! It is growing!" {he} [shouted|sang]. Every day it grew a little more. [First it had two leaves, then four, then eight.|It grew up to {his} knees, then to {his} nose.]',
        'At the end of summer, there stood a [tall and beautiful|big and lovely] {grow}. [Bees came to visit.|Birds sat on it and sang.|Everybody came to look at it.] Even {cN} said, "I was wrong. [It is wonderful|It was worth the wait]."',
        '{bN} smiled. "[Good things need time|Some things cannot be hurried|You gave it water and you gave it time]," {bhe} said. And {N} was {feel}.',
    ), dict(
        q=[
            ("What did {N} plant?", "{N} planted {aoo}."),
            ("Who gave {N} the {o}?", "{bN} the {bn} gave it to {N}."),
            ("What did it grow into?", "It grew into a beautiful {grow}."),
        ],
        sum="{N} the {n} plants {aoo} and waits a long time. At last it grows into a beautiful {grow}.",
    )


@plot("telling the truth", ("light", "sound", "box", "find", "toy", "treasure", "tool"))
def broke(s):
    s.vars.update(
        goal="I have to tell somebody something",
        how=R.choice(
            [
                "ran too fast and bumped into it",
                "threw a ball and hit it",
                "wanted to touch it and it slipped",
                "jumped on the table and it fell",
                "danced around and knocked it over",
            ]
        ),
    )
    return P(
        '{bN} the {bn} had {aoo} that {bhe} loved very much. [It stood in the middle of the room.|{bN} cleaned it every day.] "Please be careful with it," {bhe} always said.',
        WHEN
        + ", {N} came to visit. {bN} was [out in the garden|in the kitchen]. {N} {how}. [Crash|Bang|Crack]! The {o} [was broken|broke in two|lay on the floor in pieces]. {N} [stood very still|felt cold all over|wanted to run away].",
        '"[I could hide it|Maybe nobody will see it|I could say that the wind did it|I could say that it was {cN} the {cn}]," {he} thought. But {his} tummy [hurt|felt heavy like a stone]. {He} did not want to lie.',
        'So {N} went to {bN}. "[I have to tell you something|I did something bad]," {he} said [with a small voice|and looked at the floor]. "I broke your {o}. I am very sorry."',
        '{bN} was quiet for a moment. [{bHe} looked sad.|] Then {bhe} said, "I am sad about my {o}. But I am [glad|proud] that you told me the truth. [That was brave|That is not easy]."'.replace(
            "{bHe}", cap(PR[s.b["g"]][0])
        ),
        '[They got some glue and fixed it together|Together they picked up the pieces and fixed it|They worked on it all afternoon]. Now the {o} had a [crack|small line] on it. ["I like it even more now," said {bN}. "It reminds me of a brave friend."|But every time {bN} looked at it, {bhe} smiled.] {N} felt [light as a feather|much better].',
    ), dict(
        q=[
            ("What did {N} break?", "{N} broke the {o} of {bN}."),
            ("Did {N} lie about it?", "No, {N} told the truth."),
            ("Was {bN} angry?", "{bN} was sad about the {o}, but proud that {N} told the truth."),
        ],
        sum="{N} the {n} breaks the {o} of {bN} the {bn}. {He} tells the truth, and they fix it together.",
    )


@plot("kindness")
def ill(s):
    s.vars.update(goal="I am going to visit a sick friend")
    return P(
        WHEN
        + ', {N} wanted to play with {bN} the {bn}. {He} knocked on the door. Knock, knock! [But nobody came.|"Come in," said a very small voice.] {bN} was in bed. {bHis} nose was red. "[I am sick|I do not feel well]. I cannot play," said {bN} [and sneezed|sadly].'.replace(
            "{bHis}", cap(PR[s.b["g"]][2])
        ),
        '{N} [felt sorry for {bhim}|wanted to help]. {He} ran home. "[What can I bring to make {bN} smile|What makes me feel better when I am sick]?" {he} thought. {He} looked around and saw {his} {oadj} {o}. "[That is it|Yes, that will help]!"',
        "MEET",
        '{He} also cooked a pot of {food}. Then {he} went back to {bN}, [step by step, so that nothing would spill|as fast as {he} could]. "Look, I brought you {food}, and you can have my {o} until you are well," said {N}.',
        "{bN} ate the {food} and looked at the {o}. [A smile came to {bhis} face.|{bHis} eyes began to shine.] {N} sat down beside the bed and told {bhim} a [funny|long] story about {can}. {bN} laughed so much that {bhe} forgot {bhis} cough.".replace(
            "{bHis}", cap(PR[s.b["g"]][2])
        ),
        '[The next day|After three days|A few days later], {bN} felt much better. "[Your {o} was nice, and your soup was good|Thank you for the {o}]," said {bN}, "but the best medicine was [you|a good friend]." Then they went out to play {inpl}.',
    ), dict(
        q=[
            ("Who was sick?", "{bN} the {bn} was sick."),
            ("What did {N} bring?", "{N} brought some food and {his} {oadj} {o}."),
            ("What was the best medicine?", "The best medicine was a good friend."),
        ],
        sum="{bN} the {bn} is sick. {N} the {n} brings {bhim} food and {his} {o}, and soon {bN} is well again.",
    )


@plot("not bragging")
def proud(s):
    skill = R.choice(["run", "jump", "swim", "climb", "sing"])
    s.vars.update(
        goal="I am going to win",
        skill=skill,
        best={
            "run": "fastest runner",
            "jump": "best jumper",
            "swim": "fastest swimmer",
            "climb": "best climber",
            "sing": "best singer",
        }[skill],
        contest={
            "run": "race",
            "jump": "jumping contest",
            "swim": "swimming race",
            "climb": "climbing contest",
            "sing": "singing contest",
        }[skill],
    )
    return P(
        '"I am the {best} in the world," {N} said every day. "Nobody can {skill} like me!" [{His} friends were tired of hearing it.|The others only shook their heads.]',
        WHEN
        + ', there was a {contest} {inpl}. The prize was {aoo}. "[That {o} is already mine|I will win it with my eyes closed]," said {N}. {bN}, {ban}, wanted to try too. {N} laughed. "You? [You are much too slow|You have no chance]!" {bN} said nothing.',
        '"One, two, three, go!" called {cN} the {cn}. {N} was [far ahead|very good] at first. {He} [looked back and laughed|waved to everybody|stopped to talk about how great {he} was]. {He} did not look where {he} was going. [Bump|Splash|Plop]! {N} fell into a [mud hole|bush|puddle].',
        '{bN} came by. [{bN} could have gone on and won.|The prize was very near.] But {bhe} stopped. "Are you hurt? [Take my hand|Let me help you up]," said {bN}. {bHe} pulled {N} out. [Together they went to the end, side by side.|And so they were both the last.]'.replace(
            "{bHe}", cap(PR[s.b["g"]][0])
        ),
        '{cN} gave the {o} to {bN}. "[The prize is for the biggest heart|You did the best thing of all today]," said {cN}. Everybody clapped. {N} clapped too, louder than anyone.',
        '"I am sorry that I laughed at you," said {N}. "You are [better than me|a real winner]." From then on, {N} did not [brag|talk so big] any more. [And do you know what? {He} had many more friends.|It is nice to be fast, but it is better to be kind.]',
    ), dict(
        q=[
            ("What was the prize?", "The prize was {aoo}."),
            ("Who got the prize?", "{bN} the {bn} got the prize."),
            ("Why did {bN} stop?", "{bN} stopped to help {N}, who had fallen."),
        ],
        sum="{N} the {n} brags a lot, but falls in the {contest}. {bN} the {bn} stops to help {him} and gets the prize, {aoo}.",
    )


@plot("being content", ("treasure", "light", "find", "box", "toy", "tool"))
def wish(s):
    w = R.choice(
        [
            ("bigger than a house", "big", "could not fit into {his} home, and nobody could play with {him}"),
            ("very rich", "rich", "had to count {his} gold all day and had no time to play"),
            ("able to fly", "light", "flew so high that {he} was cold and all alone"),
            (
                "invisible",
                "invisible",
                "could play tricks, but nobody could see {him} and nobody talked to {him}",
            ),
            (
                "the king of everything" if s.a["g"] == "m" else "the queen of everything",
                "mighty",
                "had to sit on a hard chair all day, and everybody was afraid of {him}",
            ),
        ]
    )
    s.vars.update(goal="I want to think about my wish", w1=w[0], w3=s.f(w[2]))
    return P(
        WHEN
        + ', {N} found {aoo} {inpl}. {He} [rubbed it with {his} hand|picked it up|cleaned it], and [puff|poof|whoosh]! [Blue smoke came out of it.|It began to glow.] A voice said, "I am the spirit of the {o}. You have [two wishes|two wishes, no more and no less]."',
        '{N} [could not believe {his} ears|jumped up and down]. "I want to be {w1}!" {he} said. "[As you wish|So be it]," said the voice. And it was so.',
        "At first it was [fun|wonderful]. But soon {N} {w3}. [Days went by.|The evening came.] {N} looked down and saw {bN} the {bn} and {cN} the {cn}. They were playing and laughing. {N} felt [lonely|very sad].",
        '{He} took the {o} [again|in {his} hands]. "Dear spirit, [I have one more wish!|may I have my second wish?]" {he} asked. "Yes," said the voice. "What do you want? [Gold? A palace?|A castle? A ship?]" "No," said {N}. "I only want to be {n_self} again."'.replace(
            "{n_self}", "myself"
        ),
        '[Puff|Poof|Whoosh]! {N} was [just {an} again|just as before]. {He} ran to {bN} and {cN}. "[May I play with you|Can I play too]?" {he} asked. "[Of course|Yes]! [We missed you|Where have you been]?" said {bN}.',
        "They played until the stars came out. [And the {o}? {N} put it back where {he} had found it.|{N} never told anyone about the {o}.] {He} did not need any more wishes.",
    ), dict(
        q=[
            ("What did {N} find?", "{N} found {aoo}."),
            ("What was the first wish?", "{N} wished to be {w1}."),
            ("What was the second wish?", "{N} wished to be {self} again."),
        ],
        sum="{N} the {n} finds {aoo} with two wishes. {He} wants to be {w1}, but {he} is lonely, so {he} wishes to be {self} again.",
    )


@plot("making friends")
def neighbor(s):
    s.vars.update(goal="I want to meet my new neighbor")
    return P(
        WHEN
        + ', somebody new came to live next door to {N}. It was {bN}, {ban}. [{N} looked through the window.|{N} hid behind the fence and watched.] {bN} looked [strange|very different]. "[What if {bhe} is mean|What if {bhe} does not like me]?" thought {N}.',
        '{bN} sat alone {inpl} and looked at {aoo}. {bHe} did not [laugh or play|say a word]. [Nobody talked to {bhim}.|The others only stared at {bhim}.] "[I know how it feels to be alone|I would not like to be alone]," thought {N}.'.replace(
            "{bHe}", cap(PR[s.b["g"]][0])
        ),
        'So {he} took a plate of {food} and walked up to {bN}. {His} knees shook a little. "Hello," {he} said. "My name is {N}. [What do you have there|Is that your {o}]?" {bN} looked up and smiled a shy smile. "This is my {o}. [I brought it from my old home|It is the only thing I brought with me]. Do you want to [see|try] it?"',
        "{bN} showed {N} what {bhe} could do with the {o}. [It was so funny that they both fell over laughing.|{N} had never seen anything like it.|It was like a small wonder.] Then they ate the {food}, and {N} showed {bN} {pl}. [They found out that they both liked to {hobby}.|]",
        'In the evening, {bN} said, "[I was afraid that nobody would like me here|I thought I would never find a friend here]." {N} laughed. "[And I was afraid of you|I was shy too]! [Now we are friends|But now I know you]."',
    ), dict(
        q=[
            ("Who was new?", "{bN} the {bn} was new."),
            ("What did {bN} have?", "{bN} had {aoo}."),
            ("What did {N} bring?", "{N} brought something good to eat."),
        ],
        sum="{bN} the {bn} is new and alone with {bhis} {o}. {N} the {n} says hello, and they become friends.",
    )


@plot("working together", ("bake",))
def cook(s):
    s.vars.update(goal="I need something for my party")
    i1, i2, i3 = R.sample(
        [
            "some flour",
            "a cup of milk",
            "three eggs",
            "a jar of honey",
            "a bag of nuts",
            "a little salt",
            "some butter",
            "a bowl of berries",
            "a big spoon",
            "some sugar",
        ],
        3,
    )
    s.vars.update(i1=i1, i2=i2, i3=i3)
    return P(
        WHEN
        + ', {N} wanted to make the best {o} in the world. [It was a holiday.|{His} birthday was coming.|{He} was very hungry.] {He} [put on {his} apron|washed {his} hands|got out a big bowl] and looked into the cupboard. It was empty! "Oh dear," said {N}. "[I cannot make anything out of nothing|What shall I do now]."',
        '{He} went to {bN} the {bn}. "Do you have {i1}?" asked {N}. "Yes," said {bN}, "but [what is it for|why do you need it]?" "[I want to make {ao}|It is for my {o}]," said {N}. "[May I help you|Can I come too]?" asked {bN}. "Of course!"',
        "Then they went to {cN} the {cn}. {cN} had {i2}, and {che} wanted to help too. [And on the way home they found {i3}.|At the market they got {i3}.] Soon the kitchen was full of friends. {bN} [stirred|mixed], {cN} [poured|tasted], and {N} [sang a cooking song|told them what to do].",
        "[Oh, what a mess!|There was flour on the floor and honey on the wall.] [{cN} had dough on {chis} nose, and everybody laughed.|] But the smell was [wonderful|so good that everybody got hungry]. They waited and waited. At last {N} opened the oven. There was the {o}, [golden and warm|big and beautiful]!",
        'They sat down {inpl} and ate until they were full. "This is the best {o} in the world," said {bN}. "[That is because we made it together|Do you know why? There is a little bit of each of us in it]," said {N}.',
    ), dict(
        q=[
            ("What did they make?", "They made {ao}."),
            ("What did {bN} have?", "{bN} had {i1}."),
            ("Who helped {N}?", "{bN} the {bn} and {cN} the {cn} helped {N}."),
        ],
        sum="{N} the {n} wants to make {ao}, but the cupboard is empty. {bN} and {cN} bring what is missing, and they make it together.",
    )


@plot("wonder")
def dream(s):
    s.vars.update(goal="I am flying")
    return P(
        'One night, {N} could not sleep. The moon [looked in through the window|was big and round]. Then {he} heard a small voice. "[Psst|Hello, {N}]! [Wake up|Come with me]!" It was {his} {oadj} {o}! The {o} could talk!',
        '"[Hold on to me|Close your eyes]," said the {o}. [It grew and grew until it was as big as a bed.|It began to glow and float.] {N} held on tight, and [whoosh|up, up, up] they flew out of the window. Below them {he} saw {pl}, as small as a toy.',
        'They came to a land [in the clouds|behind the moon|on a star]. The trees were made of [candy|glass|paper], and the rivers were full of [milk|lemonade|music]. There {he} met {bN}, {ban} [with wings|with silver shoes|with a crown of flowers]. "Welcome, {N}!" said {bN}. "[We have waited for you!|Do you want to dance with us?]"',
        'They [danced on a rainbow|slid down the moon|rode on a shooting star] and ate {food}. [{N} laughed so much that {his} cheeks hurt.|It was more fun than anything.] But then the sky turned [pink|light]. "[The sun is coming|It is time to go home]," said the {o}. "[Good night|Goodbye], {N}," said {bN}. "Come again when [the moon is full|you dream]!"',
        '{N} opened {his} eyes. {He} was in {his} bed, and the {o} was [in its place|beside {him}]. It did not say a word. "[It was only a dream|So I dreamed it all]," said {N}. But then {he} saw [a bit of star dust on the {o}|a small silver feather on the pillow|that the {o} gave {him} a wink]. {N} smiled.',
    ), dict(
        q=[
            ("What could talk?", "The {o} could talk."),
            ("Who did {N} meet?", "{N} met {bN} the {bn}."),
            ("What did {N} see at the end?", "At the end, {N} saw a small sign that the dream was real."),
        ],
        sum="At night, the {o} of {N} the {n} begins to talk. They fly to a wonderful land, meet {bN} the {bn}, and come home in the morning.",
    )


@plot("not being afraid too soon")
def noise(s):
    sound = R.choice(
        ["tap, tap, tap", "creak, creak", "boom, boom", "scratch, scratch", "ooh, ooh", "clink, clink"]
    )
    s.vars.update(goal="I heard a strange noise", sound=sound)
    return P(
        'One night, {N} was in bed when {he} heard something. [{sound}!|"{sound}!"] It came from {pl}. {N} pulled the blanket up to {his} nose. "[What is that|Is it a monster]?" {he} whispered.'.replace(
            '[{sound}!|"{sound}!"]', cap(sound) + "!"
        ),
        '{cap_sound}! There it was again. {N} ran to {cN} the {cn}. "[There is a monster out there|Do you hear it too]!" said {N}. {cN} listened. "[Oh dear, it has big teeth, I am sure|I think it is a dragon]!" said {cN}. [They both hid under the table.|They held each other tight.]'.replace(
            "{cap_sound}", cap(sound)
        ),
        'After a while, {N} said, "[We cannot sit here all night|I want to know what it is]. Let us go and look." {He} took {aoo} in one hand and held {cN} with the other. Slowly, slowly, they walked {inpl2}. [Step by step.|Their hearts beat fast.] {cap_sound}!'.replace(
            "{cap_sound}", cap(sound)
        ).replace(
            "{inpl2}", "toward " + s.place
        ),
        '{N} held up the {o} and [shouted|said in a loud voice], "Who is there?" "It is only me," said a friendly voice. It was {bN} the {bn}! {bN} was [building a new chair|dancing in big shoes|trying to open a nut|playing a drum|fixing the roof]. "[I am sorry|Oh, did I wake you]? I could not sleep," said {bN}.'.replace(
            "[I am sorry|Oh, did I wake you]?", "[Oh, did I wake you|Was I too loud]?"
        ),
        '{N} and {cN} looked at each other and began to laugh. "[We thought you were a dragon|We thought there was a monster]!" Then they all had some {food} [and looked at the stars|in the middle of the night]. [Many scary things are not scary at all when you look at them.|After that, strange noises did not scare {N} any more.]',
    ), dict(
        q=[
            ("What did {N} hear?", "{N} heard a noise: {sound}."),
            ("Who made the noise?", "{bN} the {bn} made the noise."),
            ("What did {N} take along?", "{N} took {aoo}."),
        ],
        sum="{N} the {n} hears a strange noise at night. {He} is afraid, but it is only {bN} the {bn}.",
    )


@plot("saying sorry")
def quarrel(s):
    s.vars.update(goal="I am angry with my friend")
    return P(
        "{N} and {bN} the {bn} were best friends. They did everything together. "
        + WHEN.replace("[", "[", 1)
        + ', they found {aoo} {inpl}. "I saw it first!" said {N}. "No, I saw it first!" said {bN}. {N} pulled on one side, and {bN} pulled on the other. ["Give it to me!"|"It is mine!"]',
        'They pulled and pulled. [Crack! The {o} fell to the ground.|Then both of them fell down.] "[I never want to see you again|You are not my friend any more]!" shouted {bN}. "[Fine|Good]!" shouted {N}. {bN} went home to the left, and {N} went home to the right.',
        '{N} sat at home with the {o}. [But it was no fun.|{He} looked at it for a long time.] It was [quiet|boring] without {bN}. There was nobody to laugh with. {cN} the {cn} looked in. "Why are you alone?" asked {cN}. "[We had a fight about the {o}|{bN} and I had a fight]," said {N}. "[Which is more fun, {ao} or a friend|Can you play with {ao} better than with a friend]?" asked {cN}.',
        '{N} [thought about it|did not have to think long]. {He} took the {o} and ran to the house of {bN}. But {bN} was already on the way to {him}! They met in the middle of the road. "I am sorry," said {N}. "I am sorry too," said {bN}. [They both began to laugh.|They hugged each other.]',
        '"You can have the {o}," said {N}. "No, you can have it," said {bN}. So they [took turns: one day it was with {N}, and one day with {bN}|put it in a place where both of them could use it|gave it to {cN}, who had no {o}]. [And they never fought about it again.|Saying sorry had been easy after all.]',
    ), dict(
        q=[
            ("What did they fight about?", "They fought about {aoo}."),
            ("Who said sorry first?", "{N} said sorry first."),
            ("Who gave {N} good advice?", "{cN} the {cn} gave {N} good advice."),
        ],
        sum="{N} the {n} and {bN} the {bn} fight about {aoo}. Without each other they are sad, so they say sorry and share it.",
    )


@plot("never giving up")
def build(s):
    thing = R.choice(
        [
            "tree house",
            "sandcastle",
            "tower",
            "bridge",
            "flying machine",
            "little house",
            "sailing ship",
            "snow fort",
            "rocket",
        ]
    )
    s.vars.update(goal="I am going to build %s" % an(thing), thing=thing, athing=an(thing))
    return P(
        WHEN
        + ', {N} had an idea. "I will build {athing}!" {he} said. {He} collected [wood and stones|boxes and strings|all kinds of things] {inpl} and worked all day. In the evening the {thing} was done. But then [the wind came|{he} touched it|a bird sat down on it], and [crash|bump|boom]! It fell down.',
        '"[Oh no|All my work]," said {N}. [{He} wanted to cry.|{He} sat down in the middle of the mess.] But the next day {he} tried again. {He} built it [higher|stronger], with more [wood|stones|tape]. [Crash|Bump|Boom]! It fell down again.',
        '{bN} the {bn} came by with {aoo}. "What are you doing?" asked {bN}. "I am building {athing}, but it always falls down. [I give up|I cannot do it]," said {N}. {bN} walked around it and looked at it [from all sides|very closely]. "I think something is missing [here at the bottom|in the middle]. [What about my {o}|Maybe we can use my {o}]?"',
        "They put the {o} [right in the middle|at the bottom], and it fit [just right|perfectly]! Then they built the rest together. {bN} held, and {N} tied. {N} [pushed|hammered], and {bN} sang. When they were done, they stepped back and held their breath. The wind came. The {thing} [shook a little|did not move]... but it did not fall!",
        '"Hurray!" they shouted. [They sat in it all evening and looked at the sky.|All the others came to see it.] "I am glad that I did not give up," said {N}. "And I am glad that I had {ao} with me," said {bN}, and they laughed.',
    ), dict(
        q=[
            ("What did {N} build?", "{N} built {athing}."),
            ("How often did it fall down?", "It fell down two times."),
            ("What did {bN} bring?", "{bN} brought {aoo}."),
        ],
        sum="{N} the {n} builds {athing}, but it falls down two times. With the {o} of {bN} the {bn} it stands at last.",
    )


@plot("a trade for a friend")
def trade(s):
    o2, o3 = R.sample([x for k in ("toy", "treasure", "bake", "box", "warm") for x in OBJ[k] if x != s.o], 2)
    s.vars.update(goal="I want to find a gift", o2=o2, o3=o3, ao2=an(o2), ao3=an(o3))
    return P(
        '{bN} the {bn} had a birthday, and {N} wanted to give {bhim} something nice. "What do you wish for?" asked {N}. "[Oh, I always wanted {ao3}|I would love {ao3}]," said {bN}. But {N} had no {o3}. {He} only had {aoo}.',
        WHEN.replace("One day", "So one day")
        + ', {N} took the {o} and went to the market. There {he} met {cN} the {cn}. "What a fine {o}!" said {cN}. "[I need {ao} so much|I looked for {ao} all week]. Will you trade it for my {o2}?" {N} thought about it. [{He} liked the {o}.|] "All right," {he} said.',
        'Then {N} met an old {old}. "What a fine {o2}!" said the old {old}. "I am looking for {ao2} for my [little son|granddaughter]. Will you trade it for this {o3}?" {N} could not believe {his} luck. "Yes, yes!" {he} said.'.replace(
            "{old}", R.choice(["farmer", "woman", "man", "sailor", "baker"])
        ),
        '{N} ran to {bN} as fast as {he} could. "Happy birthday!" {he} said and gave {bhim} the {o3}. {bN} [jumped for joy|had tears in {bhis} eyes]. "{cap_ao3}! Where did you get it?" And {N} told {bhim} about the market.'.replace(
            "{cap_ao3}", cap(an(o3))
        ),
        '"You gave away your {oadj} {o} for me?" asked {bN}. "Yes," said {N}. "[I had fun with it, but your smile is better|A friend is worth more than {ao}]." Then they ate {food} and [sang|danced] until it was late.',
    ), dict(
        q=[
            ("What did {bN} wish for?", "{bN} wished for {ao3}."),
            ("What did {N} trade first?", "{N} traded the {o} for {ao2}."),
            ("Who had a birthday?", "{bN} the {bn} had a birthday."),
        ],
        sum="{N} the {n} trades {his} {o} for {ao2}, and the {o2} for {ao3}, so that {bN} the {bn} gets a nice birthday gift.",
    )


@plot("being prepared", ("warm", "light", "box", "tool", "toy", "treasure"))
def winter(s):
    s.vars.update(goal="I am getting ready for winter")
    return P(
        'It was summer. The sun was warm, and {N} [lay in the grass|slept in the shade] all day. {bN} the {bn} was busy. {bN} [carried nuts and apples home|filled the cupboard|fixed the roof] from morning to evening. "Why do you work so hard?" asked {N}. "[Winter is coming|Soon it will be cold]," said {bN}. {N} laughed. "[Winter is far away|There is plenty of time]!"',
        'Then fall came, and the leaves turned red and yellow. {bN} still worked. "You should [get ready|find some food and a warm place] too," said {bN}. "[Tomorrow|Later|Maybe next week]," said {N} and went to {hobby}.',
        "One morning, everything was white. Snow, snow, snow! {N} was cold, and {his} tummy was empty. {He} looked {inpl}, but there was nothing to eat. [{He} only found {aoo}, and you cannot eat that when you are cold and alone.|All {he} had was {aoo}.] {N} [shook from nose to toes|felt very sorry].",
        'At last {he} knocked at the door of {bN}. [It was warm and bright inside.|It smelled of {food}.] "You were right, and I was lazy," said {N}. "May I come in? I can give you my {o}." {bN} looked at {him}. "[Keep your {o}, we can use it together|Come in, come in]. [There is enough for two|Nobody should be cold today]. But next summer you must help me!"',
        '"I promise," said {N}. And when summer came again, who got up early every day? {N}! [{He} carried and dug and cooked and filled the cupboard.|{He} worked twice as much as {bN}.] [First the work and then the fun, that is the best way.|And in the evening they both lay in the grass.]',
    ), dict(
        q=[
            ("Who worked in the summer?", "{bN} the {bn} worked in the summer."),
            ("What happened in winter?", "It snowed, and {N} was cold and hungry."),
            ("What did {N} promise?", "{N} promised to help next summer."),
        ],
        sum="{bN} the {bn} works all summer, and {N} the {n} is lazy. In winter {bN} takes {N} in, and {N} promises to help next time.",
    )


@plot("small ones can help too", ("climb", "sound", "light", "box", "tool", "treasure"))
def rescue(s):
    trap = R.choice(
        [
            "fell into a deep hole",
            "got stuck in the mud",
            "got stuck in a tree",
            "was caught in a net",
            "slipped into an old well",
            "got stuck between two rocks",
        ]
    )
    s.vars.update(goal="I hear somebody calling for help", trap=trap)
    return P(
        '{bN} the {bn} was [big and strong|very strong]. "You are too small," {bN} always said to {N}. "[What can such a small one do|You cannot help anybody]." {N} felt [hurt|sad], but {he} said nothing.',
        WHEN
        + ', {bN} {trap} {inpl}. "Help! Help!" {bhe} cried. [The others came and pulled, but they could not reach {bhim}.|The big ones came, but they were too big to get near {bhim}.|Nobody heard {bhim}.]',
        'But {N} heard it. {He} [ran home and got|took] {his} {oadj} {o}. "[I am coming|Hold on], {bN}!" {he} called. "You? [You are too small|How can you help me]?" said {bN}. "[Small is just right here|Wait and see]," said {N}.',
        '{N} was so small that {he} could [climb down|squeeze in] between the stones and the roots. {He} [used the {o} with care|knew just what to do with the {o}]. {He} [pulled here and pushed there|worked and worked], and little by little {bN} [could move again|came free]. "One, two, three!" called {N}, and [plop|pop|hop]! {bN} was free.',
        '{bN} [sat in the grass and did not know what to say|looked at {N} for a long time]. "I was wrong," {bhe} said at last. "You are small, but [your heart is big|you are the best helper of all]. Thank you, {N}." [And from then on, nobody said that {N} was too small.|{N} felt ten feet tall.]',
    ), dict(
        q=[
            ("What happened to {bN}?", "{bN} {trap}."),
            ("Who helped {bN}?", "{N} the {n} helped {bN}."),
            ("What did {N} use?", "{N} used {his} {oadj} {o}."),
        ],
        sum="{bN} the {bn} {trap}. {N} the {n} is small, but {he} gets {bhim} out with {his} {o}.",
    )


@plot("listening", ("find", "light", "toy", "treasure"))
def lostway(s):
    s.vars.update(
        goal="I am looking for the way home",
        sign=R.choice(
            [
                "the river always runs down to the village",
                "the brightest star stands over your home",
                "moss grows on the cool side of the trees",
                "the church bell rings in the evening",
            ]
        ),
    )
    return P(
        '"Stay on the path," {bN} the {bn} always told {N}. But '
        + WHEN.lower().replace("one", "one", 1)
        + ", {N} saw a [beautiful butterfly|white rabbit|pretty bird] {inpl} and ran after it. {He} ran and ran. When {he} stopped, {he} did not know where {he} was.",
        '[The trees were tall and dark.|Everything looked strange.] "[Where is the path|Which way is home]?" said {N}. {He} went to the left, and then to the right, but it was all the same. {He} sat down on a stone and [cried a little|held {his} {oadj} {o} tight].',
        '"Why do you cry?" asked somebody. It was {cN}, {can}. "I am lost," said {N}. "I did not listen to {bN}." "[Do not worry|Dry your tears]," said {cN}. "Do you have something that can help us?" "I only have {ao}," said {N}. "[That is perfect|Very good]," said {cN}. "And remember: {sign}."',
        "So they [walked together|went on], and {N} used the {o} to [see the way|mark the path|find the right direction]. [It got darker and darker.|The way was long.] But {cN} [told {him} funny stories|stayed with {him}]. And there, at last, {N} saw a light. It was home!",
        '{bN} stood at the door. "[There you are|I looked for you everywhere]!" said {bN} and hugged {him}. "I am sorry," said {N}. "[Next time I will listen|I will stay on the path]." {cN} got a big bowl of {food}, and {N} fell asleep at the table.',
    ), dict(
        q=[
            ("Why did {N} get lost?", "{N} left the path and ran after an animal."),
            ("Who helped {N} home?", "{cN} the {cn} helped {N}."),
            ("What did {N} have?", "{N} had {ao}."),
        ],
        sum="{N} the {n} leaves the path and gets lost. {cN} the {cn} and {aoo} help {him} find the way home.",
    )


@plot("giving")
def gift(s):
    s.vars.update(goal="I am bringing a gift to my friend")
    return P(
        "{N} had {aoo}. [{He} did not use it much.|It was the nicest thing {he} had.] "
        + WHEN
        + ', {he} heard that {bN} the {bn} had [no {o}|lost everything in a storm|nothing to be happy about]. "[I will give {bhim} my {o}|{bN} needs it more than I do]," said {N}.',
        "{He} [put the {o} in a box|tied a ribbon around the {o}] and set off. The way to {bN} went past {pl}. [It was far, and the box was heavy.|The wind blew hard.]",
        "MEET",
        '{N} knocked at the door. "This is for you," {he} said. {bN} opened the box and [could not speak|clapped {bhis} hands]. "{cap_ao}! For me? [But why?|But it is not my birthday!]" "[Just because you are my friend|No reason. I only wanted to see you smile]," said {N}.'.replace(
            "{cap_ao}", cap(an(s.o))
        ),
        '{bN} [put it in the best place in the house|used the {o} every day]. And when {cN} the {cn} [was sad|had a bad day], {bN} said, "Wait, I have something for you," and gave {chim} [half of {bhis} lunch|a warm hat|a pot of flowers]. And {cN} helped an old [turtle|woman|man] across the road. And so it went on and on.',
        "In the end, [everybody {inpl}|the whole village] was a little kinder. And it all began with {aoo}.",
    ), dict(
        q=[
            ("What did {N} give away?", "{N} gave away {his} {o}."),
            ("Who got the {o}?", "{bN} the {bn} got the {o}."),
            ("What happened after that?", "{bN} was kind to {cN}, and everybody became a little kinder."),
        ],
        sum="{N} the {n} gives {his} {o} to {bN} the {bn}. {bN} is kind to {cN}, and soon everybody is kinder.",
    )


@plot("using your head", ("box", "climb", "tool", "sound", "light", "find", "toy", "treasure", "warm"))
def clever(s):
    fruit = R.choice(["apple", "pear", "cherry", "nut", "peach", "plum"])
    big = R.choice(
        [x for x in ("wolf", "giant", "bear", "dragon", "troll") if x != s.a["noun"] and x != s.b["noun"]]
    )
    s.vars.update(
        goal="I have a plan",
        big=big,
        fruits={"cherry": "cherries", "peach": "peaches"}.get(fruit, fruit + "s"),
    )
    return P(
        '{inpl} lived a big, loud {big}. Every day the {big} [took the food of the others|sat on the road and let nobody pass|ate all the {fruits}]. Everybody was afraid. "[We must run away|What can we do]," said {bN} the {bn}. "{cap_he} is too strong for us."'.replace(
            "{cap_he}", "He"
        ),
        '"[Strong is not everything|A good head is better than strong arms]," said {N}. {He} had {aoo} and a plan. '
        + WHEN
        + ", {he} [walked right up to the {big}|went to the {big} with the {o} under {his} arm].",
        '"Who is there?" [roared|shouted] the {big}. "It is me, {N}. I bring you the [wonderful|famous] {o} of the king," said {N}. "[Only the wisest can use it|It only works for someone who says please and thank you]." The {big} [looked at the {o}|scratched his head]. "I am wise! Give it to me!" "[What do you say|You must ask nicely]?" asked {N}.'.replace(
            '[What do you say|You must ask nicely]?" asked {N}', 'What do you say?" asked {N}'
        ),
        'The {big} did not know. Nobody had ever taught him. "Pl... please?" he said. It was the first time in his life. "Very good!" said {N} and gave him the {o}. "And now?" "Th... thank you," said the {big}, and his face turned red. [It felt nice to be nice.|Nobody had ever given him anything.]',
        '"If you [share the {fruits} with the others|let the others pass], I will show you how the {o} works," said {N}. "[All right|Yes]," said the {big}. "Please." From that day on, the {big} [was the friend of everybody|had many friends]. And {bN} said, "{N}, you are [the cleverest {n} in the world|really clever]!"',
    ), dict(
        q=[
            ("Who was everybody afraid of?", "Everybody was afraid of the {big}."),
            ("What did {N} bring?", "{N} brought {aoo}."),
            ("What did the {big} learn?", "The {big} learned to say please and thank you."),
        ],
        sum="A loud {big} scares everybody. {N} the {n} brings him {aoo} and teaches him to say please and thank you.",
    )


@plot("the beauty of small things")
def walk(s):
    colors = R.sample(["red", "blue", "yellow", "green", "white", "golden", "purple"], 3)
    s.vars.update(goal="I am going for a walk", c1=colors[0], c2=colors[1], c3=colors[2])
    return P(
        '{N} was bored. "There is nothing to do," {he} said. {bN} the {bn} laughed. "[Then let us go for a walk|Come with me]. I bet we will find three wonderful things before lunch." "[I do not think so|There is nothing out there]," said {N}, but {he} put on {his} shoes.',
        'They walked {inpl}. First they saw a {c1} [leaf|flower|feather] on the ground. "Look how it shines in the sun," said {bN}. {N} held it up. It had tiny lines, like a map. "That is one," said {bN}.',
        'Then they heard a song. A {c2} bird sat [on a branch|on a fence] and sang. They sat down and listened, and they were as quiet as mice. [{N} had never listened to a bird for so long.|The bird looked at {N} and sang even louder.] "That is two," said {bN}.',
        'Then {N} saw something {c3} [between the stones|in the grass|under a bush]. {He} ran to it. It was {ao}! [Somebody must have thrown it away long ago.|It was old, but it was beautiful.] {N} cleaned it with {his} hand. "[That is three|This is the best of all]!" {he} called. "[You found it yourself|You see]," said {bN}.',
        'At home {N} put the {o} beside {his} bed. "[I thought the world was boring|I only had to open my eyes]," {he} said. "Can we go again tomorrow?" "Of course," said {bN}. "There are always three wonderful things [waiting for us|if you look]."',
    ), dict(
        q=[
            ("What was the first thing they found?", "The first thing was something {c1} on the ground."),
            ("What color was the bird?", "The bird was {c2}."),
            ("What did {N} find at the end?", "{N} found {ao}."),
        ],
        sum="{N} the {n} is bored. On a walk with {bN} the {bn} {he} finds three wonderful things, and the last one is {ao}.",
    )


@plot("trying new things", ("food", "bake"))
def newfood(s):
    s.vars.update(goal="I am hungry")
    fav = R.choice(["bread", "noodles", "rice", "porridge", "potatoes", "toast"])
    s.vars.update(fav=fav)
    return P(
        '{N} ate {fav} in the morning, {fav} at noon and {fav} in the evening. "I only like {fav}," {he} said. "Everything else is yucky." {bN} the {bn} shook {bhis} head. "But you never tried anything else!"',
        WHEN
        + ', {bN} came with {aoo}. "Try it," said {bN}. "No!" said {N}. "[It looks strange|It smells funny]." {cN} the {cn} came by and took a bite. "Mmm, [delicious|so good]!" said {cN}. {N} looked at the {o}. [It did smell good.|{His} tummy made a small noise.]',
        '"[Just one little bite|Only a very tiny bite]," said {N}. {He} closed {his} eyes, held {his} nose, and took a bite as small as a pea. {He} chewed. {He} opened one eye. Then {he} opened the other. "Hm," {he} said. {He} took one more bite. And one more. [And soon everything was gone!|"May I have another one?" {he} asked.]',
        '"[You see|Well]," laughed {bN}, "and what do you want tomorrow? {cap_fav}?" "No," said {N}. "Tomorrow I want to try [something green|something new|everything]!" [And {he} did.|And they all laughed.]'.replace(
            "{cap_fav}", cap(fav)
        ),
    ), dict(
        q=[
            ("What did {N} always eat?", "{N} always ate {fav}."),
            ("What did {N} try?", "{N} tried {ao}."),
            ("Did {N} like it?", "Yes, {N} liked it very much."),
        ],
        sum="{N} the {n} only wants to eat {fav}. {bN} the {bn} brings {aoo}, {N} tries it, and it is very good.",
    )


# ------------------------------------------------------------------ the requests
ASK = [
    "[Tell|Please tell] me a[ short| little| nice| funny|] story about {x}[.| please.|]",
    "[Write|Please write|Can you write] a[ short| little| nice|] story about {x}[.|]",
    "Can you tell me a story about {x}?",
    "I want [to hear|] a story about {x}[.|]",
    "A story about {x}[, please|].",
    "Tell a[ bedtime|n adventure|] story about {x}.",
    "Story about {x}",
    "Make up a story about {x}[.| for my [son|daughter|kids].]",
    "Could you [write|tell] a[ short|] [story|tale] about {x}?",
    "[Hi|Hello]! [Tell|Please tell] me a story about {x}.",
    "Once more, a story about {x}!",
    "tell me a story about {x}",
    "Write a tale with {x} in it.",
    "I would like a story with {x}[.| in it.]",
    "Write a story for children about {x}.",
]
ASK_ANY = [
    "Tell me a[ short| nice| bedtime|] story[.| please.|]",
    "Write a[ short|] story.",
    "Can you tell me a story?",
    "I want to hear a story[.|!]",
    "Tell me something nice.",
    "Please tell me a story before I go to sleep.",
    "Make up a story[.|!]",
    "story please",
    "Once upon a time...",
    "Do you know a [good|nice] story?",
]
ASK_MORAL = [
    "[Tell|Write] [me|] a story about {m}.",
    "[Tell me|Write] a story that teaches {m}.",
    "I need a story about {m} for my class.",
    "Can you tell a story with a lesson about {m}?",
]
ASK_NAME = [
    "Tell me a story about {x} named {N}.",
    "Write a story about {x} called {N}.",
    "Tell me a story about {N} the {n}.",
    "Can you tell me a story about {N}, {an}?",
]
ASK_WORDS = [
    "Write a story with the words {w}.",
    "Use these words in a story: {w}.",
    "Make a story out of these words: {w}.",
]
LEAD = [
    "",
    "",
    "",
    "",
    "",
    "",
    "Here is a story about {x}.\n\n",
    "Of course! Here is a story.\n\n",
    "Sure!\n\n",
    "I would love to.\n\n",
]
MORE = [
    (
        "Thank you[!|.]",
        "You are welcome! [Do you want to hear another story?|I like to tell stories.|Sleep well!|]",
    ),
    (
        "That was [nice|great|a nice story|lovely][!|.]",
        "[Thank you!|I am glad that you liked it.] [Shall I tell you another one?|]",
    ),
    ("I like[d|] {N}.", "[Me too!|I like {N} too.] {N} is {an}."),
    ("Good night!", "Good night! Sleep well and dream of {N}."),
]


def rnd_obj():
    return R.choice(OBJ[R.choice(list(OBJ))])


def story(hero=None, obj=None, place=None, name=None):
    kind = obj_kind(obj) if obj else None
    names = [k for k, (_, _, ks) in PLOTS.items() if not kind or not ks or kind in ks]
    pn = R.choice(names)
    fn, moral, ks = PLOTS[pn]
    if not obj and ks:
        obj = R.choice(OBJ[R.choice(ks)])
    s = S(hero=hero, obj=obj, place=place)
    if name:
        s.a["name"] = name
    body, meta = fn(s)
    paras = [" ".join(x for x in (s.f(R.choice(OPEN)), s.f(R.choice(LIKE)), s.f(R.choice(LIKE2))) if x)]
    for t in body:
        t = s.f(R.choice(MEET)) if t == "MEET" else s.f(t)
        if not t:
            continue
        if len(paras[-1]) + len(t) < 330 and R.random() < 0.45:
            paras[-1] += " " + t
        else:
            paras.append(t)
    e = s.f(R.choice(END))
    if e:
        paras[-1] += " " + e
    text = tidy("\n\n".join(paras))
    return s, text, moral, meta


def chat(*turns, system=None):
    m = [{"role": "system", "content": system}] if system else []
    for i, t in enumerate(turns):
        m.append({"role": "user" if i % 2 == 0 else "assistant", "content": t})
    return {"messages": m}


SYSTEM = [
    "You are a friendly storyteller.",
    "You are a helpful assistant.",
    "You tell short stories for children.",
    "You are a tiny language model. Answer in simple words.",
    "Answer briefly.",
]


def sysmsg():
    return R.choice(SYSTEM) if R.random() < 0.15 else None


def title(s):
    return (
        R.choice(["{N} and the {O}", "The {Nn} and the {O}", "The {Nn} and the {B}", "{N} the {Nn}"])
        .replace("{O}", s.o.title())
        .replace("{Nn}", s.a["noun"].title())
        .replace("{B}", s.b["noun"].title())
        .replace("{N}", s.a["name"])
    )


def story_item():
    hero = person()
    obj = rnd_obj() if R.random() < 0.75 else None
    s, text, moral, meta = story(hero=hero, obj=obj)
    d = s.d()
    a, o, p, b = an(s.a["noun"]), an(s.o), s.place, an(s.b["noun"])
    r = R.random()
    if r < 0.08:
        return {"text": text}
    if r < 0.40:
        x = "%s and %s" % (a, o)
    elif r < 0.52:
        x = a
    elif r < 0.60:
        x = o
    elif r < 0.68:
        x = "%s and %s" % (a, b)
    elif r < 0.74:
        x = "%s %s %s" % (a, PLACES[p], p)
    elif r < 0.80:
        x = "%s, %s and %s" % (a, b, o)
    else:
        x = None
    if x:
        q = expand(R.choice(ASK)).replace("{x}", x)
    elif r < 0.84:
        q = expand(R.choice(ASK_ANY))
        x = a
    elif r < 0.88:
        q = expand(R.choice(ASK_MORAL)).replace("{m}", moral)
        x = moral
    elif r < 0.95:
        x = an(s.a["adj"] + " " + s.a["noun"]) if R.random() < 0.5 else a
        q = s.f(R.choice(ASK_NAME).replace("{x}", x))
    else:
        w = [s.a["noun"], s.o, s.b["noun"]]
        R.shuffle(w)
        x = a
        q = expand(R.choice(ASK_WORDS)).replace("{w}", ", ".join(w))
    ans = R.choice(LEAD).replace("{x}", x) + text
    if R.random() < 0.1:
        ans = "%s\n\n%s" % (title(s), text)
    turns = [tidy(q) if R.random() < 0.9 else q, ans]
    while R.random() < 0.30 and len(turns) < 8:
        k = R.random()
        if k < 0.45:
            qq, aa = R.choice(meta["q"])
            turns += [s.f(qq), s.f(aa)]
        elif k < 0.55:
            turns += [
                R.choice(
                    [
                        "Who is the story about?",
                        "Who is the main character?",
                        "What is the name of the %s?" % s.a["noun"],
                    ]
                ),
                s.f("The story is about {N}, {an}." if R.random() < 0.5 else "{N} the {n}."),
            ]
        elif k < 0.65:
            turns += [
                R.choice(["Give the story a title.", "What is a good title for this story?", "Title?"]),
                title(s),
            ]
        elif k < 0.78:
            turns += [
                R.choice(
                    [
                        "Tell it again in a few words.",
                        "Summarize the story.",
                        "Give me a short summary.",
                        "What happened in the story?",
                    ]
                ),
                s.f(meta["sum"]),
            ]
        elif k < 0.86:
            turns += [
                R.choice(
                    ["What is the lesson of the story?", "What can we learn from it?", "What is the moral?"]
                ),
                "The story is about %s." % moral,
            ]
        else:
            qq, aa = R.choice(MORE)
            turns += [s.f(qq), tidy(s.f(aa))]
            break
    return chat(*turns, system=sysmsg())


# ------------------------------------------------------------------ small talk and small facts
COLORS = {
    "the sky": "blue",
    "grass": "green",
    "a banana": "yellow",
    "a strawberry": "red",
    "snow": "white",
    "coal": "black",
    "an orange": "orange",
    "a carrot": "orange",
    "a lemon": "yellow",
    "a tomato": "red",
    "a leaf": "green",
    "chocolate": "brown",
    "the sun": "yellow",
    "a fire truck": "red",
    "milk": "white",
    "a frog": "green",
    "a pig": "pink",
    "an elephant": "gray",
    "a crow": "black",
    "a plum": "purple",
    "a polar bear": "white",
    "a cherry": "red",
    "a cucumber": "green",
    "the night sky": "black",
    "the sea": "blue",
    "a flamingo": "pink",
    "a pumpkin": "orange",
    "a pea": "green",
    "a penguin": "black and white",
    "a zebra": "black and white",
    "sand": "yellow",
}
OPP = [
    ("big", "small"),
    ("hot", "cold"),
    ("up", "down"),
    ("happy", "sad"),
    ("fast", "slow"),
    ("day", "night"),
    ("open", "closed"),
    ("old", "young"),
    ("hard", "soft"),
    ("light", "dark"),
    ("wet", "dry"),
    ("full", "empty"),
    ("long", "short"),
    ("high", "low"),
    ("left", "right"),
    ("good", "bad"),
    ("early", "late"),
    ("loud", "quiet"),
    ("clean", "dirty"),
    ("strong", "weak"),
    ("thick", "thin"),
    ("rich", "poor"),
    ("inside", "outside"),
    ("first", "last"),
    ("near", "far"),
    ("yes", "no"),
    ("black", "white"),
    ("summer", "winter"),
    ("sweet", "sour"),
    ("easy", "difficult"),
    ("heavy", "light"),
    ("push", "pull"),
    ("brave", "afraid"),
    ("win", "lose"),
    ("laugh", "cry"),
    ("start", "stop"),
    ("give", "take"),
    ("buy", "sell"),
    ("north", "south"),
    ("east", "west"),
    ("friend", "enemy"),
    ("tall", "short"),
    ("wide", "narrow"),
    ("true", "false"),
    ("always", "never"),
    ("over", "under"),
    ("awake", "asleep"),
    ("front", "back"),
    ("top", "bottom"),
    ("begin", "end"),
]
RHYME = [
    ["cat", "hat", "bat", "mat"],
    ["dog", "frog", "log", "fog"],
    ["moon", "spoon", "soon", "noon"],
    ["star", "car", "far", "jar"],
    ["tree", "bee", "sea", "key"],
    ["house", "mouse"],
    ["bear", "chair", "hair", "pear"],
    ["light", "night", "kite", "bright"],
    ["ball", "tall", "wall", "fall"],
    ["cake", "lake", "snake", "make"],
    ["rain", "train", "plane", "again"],
    ["sun", "fun", "run", "one"],
    ["king", "ring", "sing", "wing"],
    ["boat", "goat", "coat", "float"],
    ["day", "play", "say", "way"],
    ["bed", "red", "head", "bread"],
    ["book", "cook", "look", "hook"],
    ["fox", "box", "socks", "rocks"],
    ["snow", "go", "slow", "crow"],
    ["pie", "sky", "fly", "high"],
    ["blue", "shoe", "two", "new"],
    ["fish", "dish", "wish"],
    ["pig", "big", "dig", "wig"],
    ["duck", "truck", "luck"],
    ["hen", "ten", "pen", "men"],
    ["nose", "rose", "toes"],
    ["bell", "shell", "well", "tell"],
    ["door", "floor", "four", "more"],
    ["hill", "mill", "still"],
    ["green", "queen", "bean", "seen"],
]
CAPS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "England": "London",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Russia": "Moscow",
    "Greece": "Athens",
    "Egypt": "Cairo",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Sweden": "Stockholm",
    "Norway": "Oslo",
    "Denmark": "Copenhagen",
    "Finland": "Helsinki",
    "Ireland": "Dublin",
    "Hungary": "Budapest",
    "Canada": "Ottawa",
    "Mexico": "Mexico City",
    "Brazil": "Brasilia",
    "Argentina": "Buenos Aires",
    "India": "New Delhi",
    "Australia": "Canberra",
    "Turkey": "Ankara",
    "Kenya": "Nairobi",
    "Cuba": "Havana",
    "Belgium": "Brussels",
    "the Netherlands": "Amsterdam",
    "Switzerland": "Bern",
    "the United States": "Washington",
    "South Korea": "Seoul",
    "Peru": "Lima",
    "Chile": "Santiago",
    "Thailand": "Bangkok",
}
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
CATS = {
    "animals": list(ANIMALS),
    "fruits": [
        "apple",
        "banana",
        "pear",
        "orange",
        "cherry",
        "peach",
        "plum",
        "grape",
        "lemon",
        "strawberry",
        "mango",
        "kiwi",
    ],
    "colors": [
        "red",
        "blue",
        "green",
        "yellow",
        "orange",
        "purple",
        "pink",
        "brown",
        "black",
        "white",
        "gray",
    ],
    "vegetables": [
        "carrot",
        "potato",
        "tomato",
        "onion",
        "cabbage",
        "pea",
        "bean",
        "corn",
        "cucumber",
        "spinach",
    ],
    "toys": ["ball", "doll", "kite", "puzzle", "teddy bear", "toy car", "yo-yo", "drum", "top", "blocks"],
    "birds": ["robin", "owl", "crow", "duck", "swan", "parrot", "penguin", "goose", "hen", "eagle"],
    "countries": list(CAPS)[:20],
    "farm animals": ["cow", "pig", "sheep", "goat", "horse", "donkey", "hen", "duck", "goose", "rooster"],
    "tools": ["hammer", "saw", "shovel", "broom", "brush", "needle", "ladder", "rope"],
    "things in a kitchen": ["pot", "pan", "spoon", "fork", "cup", "plate", "kettle", "oven", "bowl"],
    "clothes": ["hat", "coat", "scarf", "shirt", "sock", "shoe", "dress", "sweater", "glove"],
    "instruments": ["drum", "flute", "guitar", "violin", "piano", "trumpet", "harp", "banjo"],
    "days": DAYS,
    "months": MONTHS,
    "names for a cat": ["Milo", "Luna", "Coco", "Felix", "Cleo", "Ruby", "Oscar"],
    "names for a dog": ["Rex", "Max", "Bella", "Bruno", "Daisy", "Toby", "Gus"],
}
PLUR = {
    "mouse": "mice",
    "goose": "geese",
    "foot": "feet",
    "tooth": "teeth",
    "child": "children",
    "man": "men",
    "woman": "women",
    "sheep": "sheep",
    "fish": "fish",
    "leaf": "leaves",
    "wolf": "wolves",
    "knife": "knives",
    "box": "boxes",
    "fox": "foxes",
    "baby": "babies",
    "cherry": "cherries",
    "story": "stories",
    "cat": "cats",
    "dog": "dogs",
    "tree": "trees",
    "house": "houses",
    "star": "stars",
    "apple": "apples",
    "book": "books",
    "bus": "buses",
    "dish": "dishes",
    "city": "cities",
    "lady": "ladies",
    "potato": "potatoes",
    "bird": "birds",
    "flower": "flowers",
    "boat": "boats",
    "king": "kings",
    "glass": "glasses",
}
PAST = {
    "run": "ran",
    "go": "went",
    "see": "saw",
    "eat": "ate",
    "drink": "drank",
    "sing": "sang",
    "swim": "swam",
    "fly": "flew",
    "write": "wrote",
    "read": "read",
    "give": "gave",
    "take": "took",
    "sleep": "slept",
    "find": "found",
    "lose": "lost",
    "play": "played",
    "jump": "jumped",
    "walk": "walked",
    "help": "helped",
    "dance": "danced",
    "think": "thought",
    "buy": "bought",
    "fall": "fell",
    "grow": "grew",
    "know": "knew",
    "say": "said",
    "tell": "told",
    "make": "made",
    "come": "came",
    "sit": "sat",
    "stand": "stood",
    "build": "built",
    "break": "broke",
}
HELLO = {
    "French": "Bonjour",
    "Spanish": "Hola",
    "German": "Hallo",
    "Italian": "Ciao",
    "Portuguese": "Ola",
    "Dutch": "Hallo",
    "Swedish": "Hej",
    "Polish": "Czesc",
    "Turkish": "Merhaba",
    "Japanese": "Konnichiwa",
    "Swahili": "Jambo",
    "Hawaiian": "Aloha",
}
THANKS = {
    "French": "Merci",
    "Spanish": "Gracias",
    "German": "Danke",
    "Italian": "Grazie",
    "Portuguese": "Obrigado",
    "Swedish": "Tack",
    "Japanese": "Arigato",
    "Swahili": "Asante",
}
JOKES = [
    ("Why did the cow cross the road?", "To get to the udder side!"),
    ("What do you call a bear with no teeth?", "A gummy bear!"),
    ("Why do bees have sticky hair?", "Because they use a honeycomb!"),
    ("What do you call a sleeping dinosaur?", "A dino-snore!"),
    ("Why was the math book sad?", "It had too many problems!"),
    ("What has four wheels and flies?", "A garbage truck!"),
    ("Why can a nose not be twelve inches long?", "Because then it would be a foot!"),
    ("What did one wall say to the other wall?", "I will meet you at the corner!"),
    ("Why did the banana go to the doctor?", "Because it was not peeling well!"),
    ("What do you get when you cross a snowman and a dog?", "Frostbite!"),
    ("How does the moon cut its hair?", "It eclipses it!"),
    ("What is a cat's favorite color?", "Purr-ple!"),
    ("Why did the scarecrow win a prize?", "Because he was outstanding in his field!"),
    ("What do you call a fish without an eye?", "A fsh!"),
    ("Where do cows go on Friday night?", "To the moo-vies!"),
    ("What kind of tree fits in your hand?", "A palm tree!"),
    ("Why are ghosts bad at lying?", "Because you can see right through them!"),
    ("What do you call cheese that is not yours?", "Nacho cheese!"),
]
RIDDLES = [
    ("What has hands but cannot clap?", "a clock"),
    ("What has a neck but no head?", "a bottle"),
    ("What gets wet while it dries?", "a towel"),
    ("What has teeth but cannot bite?", "a comb"),
    ("What goes up but never comes down?", "your age"),
    ("What has legs but cannot walk?", "a table"),
    ("What is full of holes but still holds water?", "a sponge"),
    ("What has one eye but cannot see?", "a needle"),
    ("What can you catch but not throw?", "a cold"),
    ("What has keys but opens no door?", "a piano"),
    ("What has an ear of corn but cannot hear?", "a field"),
    ("What runs but has no feet?", "a river"),
]
TOPICS = [
    "quantum physics",
    "the stock market",
    "taxes",
    "how to fix my car",
    "the theory of relativity",
    "python code",
    "the second world war",
    "politics",
    "black holes",
    "photosynthesis",
    "machine learning",
    "the French Revolution",
    "bitcoin",
    "chemistry",
    "my homework",
    "a contract",
    "calculus",
    "the weather tomorrow",
    "the news",
    "the best phone",
    "operating systems",
    "the human brain",
    "vaccines",
    "philosophy",
    "Shakespeare",
    "football results",
    "a web page",
    "linear algebra",
    "neural networks",
    "medicine",
    "a cover letter",
    "the population of Brazil",
    "the distance to the moon",
    "databases",
    "the history of Rome",
    "economics",
    "a JavaScript function",
    "prime numbers",
    "the speed of light",
    "climate change",
    "DNA",
    "electric cars",
    "C++ and Rust",
    "law",
    "investing",
    "the meaning of life",
    "an essay",
    "a business plan",
    "my email",
    "this sentence in Chinese",
    "an SQL query",
    "sorting algorithms",
]
NUMW = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
WORDS = sorted(
    {
        w
        for w in list(ANIMALS) + [x for v in OBJ.values() for x in v] + CATS["fruits"] + CATS["colors"]
        if " " not in w and "-" not in w
    }
)


def lst(xs):
    f = R.random()
    if f < 0.4:
        return "\n".join("- " + x for x in xs)
    if f < 0.7:
        return "\n".join("%d. %s" % (i + 1, x) for i, x in enumerate(xs))
    return cap(", ".join(xs[:-1]) + " and " + xs[-1] + ".") if len(xs) > 1 else cap(xs[0]) + "."


def poem(x):
    A = {
        "cat": "I saw {x} with a cat",
        "hat": "wearing a funny hat",
        "bat": "flying by like a bat",
        "mat": "sleeping on a mat",
        "dog": "I met {x} and a dog",
        "frog": "singing with a frog",
        "log": "sitting on a log",
        "fog": "walking in the fog",
        "moon": "{X} looked up at the moon",
        "spoon": "dancing with a spoon",
        "soon": "I will see you soon",
        "noon": "We had lunch at noon",
        "star": "I saw {x} and a star",
        "car": "riding in a car",
        "far": "Home is not so far",
        "jar": "There is honey in the jar",
        "tree": "{X} sat under a tree",
        "bee": "talking to a bee",
        "sea": "looking at the sea",
        "key": "looking for a key",
        "house": "{X} lived in a little house",
        "mouse": "together with a mouse",
        "bear": "I saw {x} and a bear",
        "chair": "sitting on a chair",
        "hair": "with flowers in its hair",
        "pear": "eating a yellow pear",
        "light": "{X} saw a little light",
        "night": "in the middle of the night",
        "kite": "holding on to a kite",
        "bright": "The stars are very bright",
        "ball": "{X} played with a ball",
        "tall": "The trees are big and tall",
        "wall": "and jumped over a wall",
        "fall": "The leaves turn red in fall",
        "cake": "{X} baked a cake",
        "lake": "and swam in the lake",
        "snake": "and danced with a snake",
        "make": "What a mess you can make",
        "rain": "{X} walked in the rain",
        "train": "and waited for a train",
        "plane": "and looked up at a plane",
        "again": "and then went home again",
        "sun": "{X} sat in the sun",
        "fun": "and had a lot of fun",
        "run": "and then began to run",
        "one": "and counted two and one",
        "king": "{X} met a king",
        "ring": "who lost a golden ring",
        "sing": "and they began to sing",
        "wing": "and a bird lent them a wing",
        "boat": "{X} sat in a boat",
        "goat": "together with a goat",
        "coat": "in a big warm coat",
        "float": "Look how the leaves float",
        "day": "It was a sunny day",
        "play": "{X} came out to play",
        "say": "What more is there to say",
        "way": "and walked a long, long way",
        "bed": "{X} lay in bed",
        "red": "with a blanket warm and red",
        "head": "and a hat upon its head",
        "bread": "and ate a piece of bread",
        "book": "{X} had a book",
        "cook": "and gave it to the cook",
        "look": "who came to have a look",
        "hook": "Your coat is on the hook",
        "fox": "{X} met a fox",
        "box": "sitting in a box",
        "socks": "wearing yellow socks",
        "rocks": "playing with some rocks",
        "snow": "{X} saw the snow",
        "go": "and did not want to go",
        "slow": "The clouds are white and slow",
        "crow": "and waved to a crow",
        "pie": "{X} ate a pie",
        "sky": "and looked up at the sky",
        "fly": "and wished that it could fly",
        "high": "above the hills so high",
        "blue": "The sky above is blue",
        "shoe": "{X} lost a shoe",
        "two": "and then it had just two",
        "new": "and everything is new",
        "fish": "{X} saw a fish",
        "dish": "swimming in a dish",
        "wish": "and they both made a wish",
        "pig": "{X} met a pig",
        "big": "that was very big",
        "dig": "and liked to dig",
        "wig": "and it wore a wig",
        "duck": "{X} met a duck",
        "truck": "driving in a truck",
        "luck": "They wished each other luck",
        "hen": "{X} met a hen",
        "ten": "who could count to ten",
        "pen": "and write it with a pen",
        "men": "and wave at seven men",
        "nose": "{X} has a little nose",
        "rose": "and smells a lovely rose",
        "toes": "from its head down to its toes",
        "bell": "{X} rang a bell",
        "shell": "and listened to a shell",
        "well": "Today all things are well",
        "tell": "What tales the sea can tell",
        "door": "{X} knocked on the door",
        "floor": "and danced upon the floor",
        "four": "one, two, three and four",
        "more": "and then they danced some more",
        "hill": "{X} ran up the hill",
        "mill": "and past the windy mill",
        "still": "The world is very still",
        "green": "The fields are wide and green",
        "queen": "{X} met the queen",
        "bean": "and gave her one big bean",
        "seen": "the nicest ever seen",
    }
    r = R.choice([r for r in RHYME if len(r) >= 3])
    r2 = R.choice([q for q in RHYME if q is not r])
    (a, b), (c, d) = [sorted(R.sample(q, 2), key=lambda w: "{" not in A[w]) for q in (r, r2)]

    def line(w, end):
        return cap(A[w].replace("{X}", "the " + x).replace("{x}", "the " + x)) + end

    return "\n".join([line(a, ","), line(b, "."), line(c, ","), line(d, ".")])


def small_item():
    k = R.choices(
        [
            "hello",
            "who",
            "feel",
            "bye",
            "sound",
            "baby",
            "home",
            "food",
            "legs",
            "bigger",
            "color",
            "opp",
            "rhyme",
            "cap",
            "day",
            "month",
            "list",
            "json",
            "plus",
            "minus",
            "count",
            "plur",
            "past",
            "lang",
            "joke",
            "riddle",
            "use",
            "ood",
            "poem",
            "repeat",
            "first",
            "yesno",
            "seq",
            "upper",
            "like",
            "cont",
        ],
        [
            5,
            5,
            3,
            2,
            3,
            3,
            2,
            2,
            2,
            4,
            4,
            4,
            3,
            5,
            3,
            2,
            6,
            6,
            6,
            4,
            3,
            2,
            2,
            2,
            5,
            3,
            4,
            12,
            5,
            4,
            2,
            4,
            3,
            2,
            3,
            3,
        ],
    )[0]
    a = R.choice(list(ANIMALS))
    A = ANIMALS[a]
    if k == "hello":
        q, r = expand(
            "[Hello|Hi|Hey|Good morning|Good evening|Hi there|Hello there|hello|hi]"
            + R.choice(["!", ".", "", "!"])
        ), expand(
            "[Hello|Hi]! [How can I help you?|I am happy to meet you.|What would you like to hear?|Do you want to hear a story?|Shall I tell you a story?]"
        )
    elif k == "who":
        q, r = (
            expand(
                R.choice(
                    [
                        "Who are you?",
                        "What are you?",
                        "What is your name?",
                        "Tell me about yourself[.|]",
                        "What can you do?",
                        "Are you a robot?",
                        "Are you a human?",
                        "How big are you?",
                        "Who made you?",
                        "How do you work?",
                        "Can you help me?",
                    ]
                )
            ),
            None,
        )
    elif k == "feel":
        q, r = expand("[How are you|How are you today|How do you feel][?| today?|?]").replace(
            "today today", "today"
        ), expand("I am [fine|very well|happy], thank you! [And you?|How are you?|I am ready for a story.]")
    elif k == "bye":
        q, r = expand("[Bye|Goodbye|See you|Good night|Bye bye][!|.|]"), expand(
            "[Goodbye|Bye|See you soon|Sleep well]! [It was nice to talk with you.|Come back soon for another story.|]"
        )
    elif k == "sound":
        q, r = expand("[What sound does {a} make?|What does {a} say?|How does {a} sound?]"), (
            expand("{A} [says|makes the sound] {s}.") if not re.match(r"(a|no) ", A[0]) else "{A} makes {s}."
        )
    elif k == "baby":
        q, r = expand("What is a baby %s called?|" % a).rstrip("|"), "A baby %s is called %s." % (a, an(A[1]))
    elif k == "home":
        q, r = "Where does {a} live?", "{A} lives in %s." % A[2]
    elif k == "food":
        q, r = expand("What does {a} eat?|").rstrip("|"), "{A} eats %s." % A[3]
    elif k == "legs":
        q, r = "How many legs does {a} have?", (
            ("{A} has %s legs." % NUMW[A[4]]) if A[4] else "{A} has no legs."
        )
    elif k == "bigger":
        b = R.choice([x for x in ANIMALS if abs(ANIMALS[x][5] - A[5]) > 3])
        big, sm = (a, b) if A[5] > ANIMALS[b][5] else (b, a)
        w = R.choice(["bigger", "smaller"])
        q, r = "Which is %s, %s or %s?" % (w, an(a), an(b)), "%s is %s than %s." % (
            cap(an(big if w == "bigger" else sm)),
            w,
            an(sm if w == "bigger" else big),
        )
    elif k == "color":
        x = R.choice(list(COLORS))
        q, r = expand("[What color is %s?|Which color does %s have?]" % (x, x)), "%s is %s." % (
            cap(x),
            COLORS[x],
        )
    elif k == "opp":
        x, y = R.choice(OPP)
        if R.random() < 0.5 and (y, x) and y not in ("light", "short"):
            x, y = y, x
        q, r = expand('What is the opposite of [%s|"%s"]?' % (x, x)), "The opposite of %s is %s." % (x, y)
    elif k == "rhyme":
        rr = R.choice(RHYME)
        x = R.choice(rr)
        y = R.choice([w for w in rr if w != x])
        q, r = expand(
            "[What rhymes with %s?|Find a rhyme for %s.|Give me a word that rhymes with %s.]" % (x, x, x)
        ), expand("[%s rhymes with %s.|%s.]" % (cap(y), x, cap(y)))
    elif k == "cap":
        x = R.choice(list(CAPS))
        q, r = expand(
            "[What is the capital of %s?|Which city is the capital of %s?|capital of %s?]" % (x, x, x)
        ), "The capital of %s is %s." % (x, CAPS[x])
    elif k in ("day", "month"):
        L = DAYS if k == "day" else MONTHS
        i = R.randrange(len(L))
        w = R.choice(["after", "before"])
        j = (i + (1 if w == "after" else -1)) % len(L)
        q, r = "Which %s comes %s %s?" % (k, w, L[i]), "%s comes %s %s." % (L[j], w, L[i])
    elif k == "list":
        c = R.choice(list(CATS))
        n = R.randint(2, 5)
        xs = R.sample(CATS[c], n)
        q, r = expand(
            "[Name|List|Give me|Tell me|Write down] %s %s[.|]" % (R.choice([NUMW[n], str(n)]), c)
        ), lst(xs)
    elif k == "json":
        j = R.random()
        if j < 0.5:
            c = name_it(person(), ())
            age = R.randint(1, 12)
            col = R.choice(CATS["colors"])
            ks = R.choice(
                [("name", "age"), ("name", "animal"), ("name", "age", "color"), ("name", "kind", "age")]
            )
            v = {"name": c["name"], "age": age, "animal": c["noun"], "kind": c["noun"], "color": col}
            what = c["noun"]
            q = expand(
                "[Give me|Write|Return] [a JSON object|JSON] for %s with %s[.|]"
                % (an(what), " and ".join([", ".join(ks[:-1]), ks[-1]]))
            )
            r = json.dumps({x: v[x] for x in ks})
        elif j < 0.8:
            c = R.choice(list(CATS))
            n = R.randint(2, 4)
            q = expand("[Give me|Write|Return] %s %s as a JSON [list|array][.|]" % (NUMW[n], c))
            r = json.dumps(R.sample(CATS[c], n))
        else:
            nm = R.choice(NAMES_F + NAMES_M)
            age = R.randint(3, 12)
            o = R.choice(OBJ["toy"])
            q = "%s is %d years old and has %s. Write this as JSON." % (nm, age, an(o))
            r = json.dumps({"name": nm, "age": age, "has": o})
    elif k == "plus":
        x, y = R.randint(0, 12), R.randint(0, 12)
        q, r = expand(
            "[What is %d plus %d?|%d + %d|%d + %d = ?|How much is %d + %d?]" % ((x, y) * 4)
        ), expand("[%d plus %d is %d.|%d + %d = %d]" % (x, y, x + y, x, y, x + y))
    elif k == "minus":
        x = R.randint(0, 20)
        y = R.randint(0, x)
        q, r = expand("[What is %d minus %d?|%d - %d|How much is %d - %d?]" % ((x, y) * 3)), expand(
            "[%d minus %d is %d.|%d - %d = %d]" % (x, y, x - y, x, y, x - y)
        )
    elif k == "count":
        n = R.randint(3, 20)
        if R.random() < 0.7:
            q, r = (
                expand("[Count to %s.|Count from 1 to %s.]" % ((R.choice([str(n), NUMW[n]]),) * 2)),
                ", ".join(str(i) for i in range(1, n + 1)) + ".",
            )
        else:
            n = min(n, 10)
            q, r = "Count backwards from %d." % n, ", ".join(str(i) for i in range(n, 0, -1)) + "."
    elif k == "plur":
        x = R.choice(list(PLUR))
        q, r = "What is the plural of %s?" % x, "The plural of %s is %s." % (x, PLUR[x])
    elif k == "past":
        x = R.choice(list(PAST))
        q, r = "What is the past tense of %s?" % x, "The past tense of %s is %s." % (x, PAST[x])
    elif k == "lang":
        D = R.choice([HELLO, THANKS])
        x = R.choice(list(D))
        q, r = "How do you say %s in %s?" % (
            "hello" if D is HELLO else "thank you",
            x,
        ), 'In %s you say "%s".' % (x, D[x])
    elif k == "joke":
        s_, e_ = R.choice(JOKES)
        q, r = (
            expand(
                "[Tell me a joke|Do you know a joke|Make me laugh|Another joke|tell me a joke]"
                + R.choice([".", "!", "", "?"])
            ),
            s_ + " " + e_,
        )
    elif k == "riddle":
        s_, e_ = R.choice(RIDDLES)
        if R.random() < 0.5:
            q, r = s_, "It is %s." % e_
        else:
            return chat(
                expand("[Tell me a riddle.|Do you know a riddle?|Give me a riddle.]"),
                s_,
                expand("[I do not know.|What is it?|Tell me the answer.|I give up.]"),
                expand("[The answer is %s.|It is %s!]" % (e_, e_)),
                system=sysmsg(),
            )
    elif k == "use":
        x = R.choice(list(USE))
        y = x if x in ("boots", "gloves", "glasses", "scissors", "glue", "soap") else an(x)
        q, r = expand(
            "[What is %s for?|What do you do with %s?|Why do we need %s?]" % (y, y, y)
        ), "You use %s %s." % (y, USE[x])
    elif k == "ood":
        x = R.choice(TOPICS)
        q = expand(
            "[Explain %s.|Tell me about %s.|Can you help me with %s?|What do you know about %s?|Write something about %s.|How does %s work?|I have a question about %s.]"
            % ((x,) * 7)
        )
        r = expand(
            "[I am only a tiny model, and I do not know much about %s.|I am sorry, that is too hard for me.|That is too big for such a small model.|I am too small to know that.] [But I can tell you a story!|Shall I tell you a story?|I know stories and little facts.|Would you like to hear a story?]"
            % x
        )
    elif k == "poem":
        x = R.choice(list(ANIMALS) + CREATURES[:12])
        q, r = expand("[Write|Tell me] a[ short| little|] [poem|rhyme] about %s[.|]" % an(x)), poem(x)
    elif k == "repeat":
        w = " ".join(R.sample(WORDS, R.randint(1, 4)))
        if R.random() < 0.6:
            q, r = expand("[Repeat|Say|Repeat after me|Copy this]: %s" % w), w
        else:
            n = R.randint(2, 4)
            q, r = "Say %s %s times." % (w, NUMW[n]), ", ".join([w] * n) + "."
    elif k == "first":
        x = R.choice(WORDS)
        q, r = R.choice(
            [
                ("What is the first letter of %s?" % x, "The first letter of %s is %s." % (x, x[0])),
                ("What is the last letter of %s?" % x, "The last letter of %s is %s." % (x, x[-1])),
                ("How do you spell %s?" % x, "-".join(x)),
                ("How many letters are in the word %s?" % x, "The word %s has %d letters." % (x, len(x))),
            ]
        )
    elif k == "yesno":
        j = R.random()
        if j < 0.4:
            b = R.choice(["an animal", "a fruit", "a color"])
            x = R.choice(R.choice([list(ANIMALS), CATS["fruits"], CATS["colors"]]))
            T = {"an animal": x in ANIMALS, "a fruit": x in CATS["fruits"], "a color": x in CATS["colors"]}
            c0 = "an animal" if x in ANIMALS else "a fruit" if x in CATS["fruits"] else "a color"
            xx = x if x in CATS["colors"] and x != "orange" else an(x)
            q = "Is %s %s?" % (xx, b)
            r = ("Yes, %s is %s." % (xx, b)) if T[b] else "No, %s is %s." % (xx, c0)
        elif j < 0.7:
            f = a in ("duck", "goose", "owl", "crow", "robin", "parrot", "bee", "butterfly", "swan", "bat")
            q = "Can %s fly?" % an(a)
            r = ("Yes, %s can fly." if f else "No, %s cannot fly.") % an(a)
        else:
            x = R.choice(list(COLORS))
            col = R.choice([COLORS[x], R.choice(CATS["colors"])])
            q = "Is %s %s?" % (x, col)
            r = ("Yes, %s is %s." % (x, col)) if col == COLORS[x] else "No, %s is %s." % (x, COLORS[x])
    elif k == "seq":
        st, d = R.randint(0, 9), R.choice([1, 2, 2, 3, 5, 10])
        xs = [st + d * i for i in range(4)]
        q, r = "What comes next: %s?" % ", ".join(map(str, xs)), str(xs[-1] + d)
    elif k == "upper":
        x = R.choice(WORDS)
        q, r = R.choice(
            [("Write %s in capital letters." % x, x.upper()), ("Write %s in small letters." % x.upper(), x)]
        )
    elif k == "like":
        q = expand(
            "[Do you like %s?|What is your favorite animal?|What is your favorite color?|What do you like?]"
            % R.choice(["stories", "cats", "dogs", "music", "books", "rain", "cake"])
        )
        r = None
    elif k == "cont":
        s, text, _, _ = story()
        sents = re.split(r"(?<=[.!?]) ", text)
        n = 1 if len(sents[0]) > 50 else 2
        head = " ".join(sents[:n])
        rest = text[len(head) :].strip()
        return chat(
            expand("[Continue this story|Go on|Finish this story|What happens next|Continue]: ") + head,
            rest,
            system=sysmsg(),
        )
    if k == "who":
        r = {
            "Who are you?": "I am a tiny language model. I like to tell stories.",
            "What are you?": "I am a tiny language model. I tell little stories and answer easy questions.",
            "What is your name?": "I do not have a name. You can call me Storyteller.",
            "What can you do?": "I can tell you a story, a joke or a riddle, and I can answer easy questions.",
            "Are you a robot?": "I am not a robot with arms and legs. I am a small computer program that writes text.",
            "Are you a human?": "No, I am a small computer program that writes text.",
            "How big are you?": "I am very small. I have only a few million numbers inside me.",
            "Who made you?": "I was trained from scratch on little stories, so that you have something to try out.",
            "How do you work?": "I look at your words and guess the next word, again and again.",
            "Can you help me?": "I will try! I can tell stories and answer easy questions.",
        }.get(q, "I am a tiny language model. I tell stories, jokes and riddles.")
    if k == "like":
        r = (
            "My favorite animal is the %s. It is so funny." % R.choice(["fox", "owl", "hedgehog", "penguin"])
            if "animal" in q
            else (
                "I like %s best." % R.choice(["blue", "green", "yellow"])
                if "color" in q
                else (
                    "I like stories most of all. [Shall I tell you one?|]"
                    if q == "What do you like?"
                    else "Yes, I like %s very much!" % q.split("like ")[1].rstrip("?")
                )
            )
        )
        r = expand(r)
    q = q.replace("{a}", an(a))
    r = r.replace("{A}", cap(an(a))).replace("{s}", A[0])
    return chat(q, r.strip(), system=sysmsg())


def small_talk():
    """one to four small exchanges in one talk"""
    x = small_item()
    if "messages" not in x:
        return x
    while R.random() < 0.35 and len(x["messages"]) < 9:
        y = small_item()["messages"]
        y = [m for m in y if m["role"] != "system"]
        if sum(len(m["content"]) for m in y) > 700:
            continue
        x["messages"] += y
    if R.random() < 0.06:
        y = story_item()
        if "messages" in y:
            x["messages"] += [m for m in y["messages"] if m["role"] != "system"][:2]
    return x


def items(n_stories, n_small, seen):
    """About n_stories stories and n_small talks, mixed; those in `seen` are left out, and join it."""
    out, n = [], n_stories + n_small
    for _ in range(n):
        item = story_item() if R.random() * n < n_stories else small_talk()
        line = json.dumps(item)
        if line not in seen:
            seen.add(line)
            out.append(item)
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--stories", type=int, default=3)
    ap.add_argument("--small", type=int, default=3)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    R.seed(args.seed)
    for item in items(args.stories, args.small, set()):
        print(json.dumps(item))


if __name__ == "__main__":
    main()
