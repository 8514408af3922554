"""Words for pictures that show text; plain ASCII, so that every typeface can set them."""

from random import Random

ADJECTIVES = """quiet amber northern hollow bright distant paper silver wild gentle copper restless
early crimson patient velvet salted hidden open winter marble modern slow electric golden broken
little seventh endless honest curious lunar green wooden secret""".split()
NOUNS = """harbour garden engine orchard river signal lantern archive mountain station letter market
machine island window shadow compass bridge meadow kitchen comet forest theatre tower clock ocean
library valley museum railway studio festival bakery morning glacier cinema desert""".split()
VERBS = """opens follows carries remembers crosses gathers measures returns listens builds explains
keeps travels paints answers repairs borrows counts finds lifts holds""".split()
LINKS = """across beneath beyond near after before without around toward between""".split()
FIRST = """Ada Mira Jonas Lena Tomas Ines Omar Yuki Clara Felix Nadia Hugo Priya Emil Rosa Kofi
Anya Luis Greta Sami Vera Noah Elif Pavel""".split()
LAST = """Okafor Lindqvist Moreau Tanaka Ferreira Novak Haddad Keller Rossi Jansen Mbeki Larsen
Castillo Ivanov Byrne Sato Weber Dubois Silva Kowalski""".split()
PLACES = """Lisbon Tromso Valencia Kyoto Bergen Trieste Oaxaca Ghent Porto Tallinn Cusco Galway
Izmir Dakar Riga Hobart Nara Split Leuven Turin""".split()
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
GOODS = """espresso notebook lamp kettle raincoat bicycle backpack teapot sofa radio camera scarf
blanket headphones keyboard planter speaker chair desk mug skillet tent compass watch""".split()
TEAMS = "Sales Support Research Design Finance Legal Field Cloud Mobile Data Ops Growth".split()


def phrase(rng: Random) -> str:
    """Return an adjective and a noun, capitalised."""
    return f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}".title()


def title(rng: Random) -> str:
    """Return something that a book, a talk or a film could be called."""
    adjective, noun, other = rng.choice(ADJECTIVES), rng.choice(NOUNS), rng.choice(NOUNS)
    shape = rng.randrange(6)
    if shape == 0:
        return f"The {adjective} {noun}".title()
    if shape == 1:
        return f"{noun} and {other}".title()
    if shape == 2:
        return f"How the {noun} {rng.choice(VERBS)}".capitalize()
    if shape == 3:
        return f"{noun} {rng.choice(LINKS)} the {adjective} {other}".capitalize()
    if shape == 4:
        return noun.title()
    return f"{adjective} {noun}".title()


def sentence(rng: Random) -> str:
    """Return a sentence of eight to sixteen words that nearly means something."""
    parts = [f"the {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} {rng.choice(VERBS)}"]
    parts.append(f"the {rng.choice(NOUNS)}")
    parts.append(f"{rng.choice(LINKS)} the {rng.choice(NOUNS)}")
    if rng.random() < 0.5:
        parts.append(f"and {rng.choice(VERBS)} {rng.choice(LINKS)} a {rng.choice(NOUNS)}")
    return " ".join(parts).capitalize() + "."


def paragraph(rng: Random, sentences: int) -> str:
    """Return several sentences."""
    return " ".join(sentence(rng) for _ in range(sentences))


def person(rng: Random) -> str:
    """Return a first and a last name."""
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"


def day(rng: Random) -> str:
    """Return a date such as 14 Mar 2024."""
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(1998, 2026)}"


def money(rng: Random, largest: float = 900.0) -> str:
    """Return an amount with two decimals and a thousands comma."""
    return f"{rng.uniform(1, largest):,.2f}"


def site(rng: Random) -> str:
    """Return a web address."""
    return f"www.{rng.choice(ADJECTIVES)}{rng.choice(NOUNS)}.example"


def code_line(rng: Random) -> tuple[int, str]:
    """Return the indentation and the text of one line of some program."""
    noun, other, verb = rng.choice(NOUNS), rng.choice(GOODS), rng.choice(VERBS)
    indent, text = rng.choice(
        [
            (0, f"def {verb}_{noun}({other}, limit={rng.randint(1, 99)}):"),
            (0, f"class {noun.title()}{other.title()}:"),
            (0, f"import {noun}.{other}"),
            (0, f"@cached(ttl={rng.randint(10, 900)})"),
            (0, ""),
            (1, f"{noun} = {other}.{verb}({rng.randint(0, 64)})"),
            (1, f"for {other} in self.{noun}s:"),
            (1, f'"""{sentence(rng)}"""'),
            (1, f"# {sentence(rng).lower()}"),
            (1, f"return {noun}[{rng.randint(0, 9)}] + {other}"),
            (2, f"if {other} > {rng.random():.3f}:"),
            (2, f"{noun}.append({other})"),
            (2, f'raise ValueError("{noun} {rng.choice(LINKS)} {other}")'),
            (3, f"yield {other}, {noun}"),
            (3, f"total += {noun}_{other} * {rng.randint(2, 12)}"),
        ]
    )
    return indent, text
