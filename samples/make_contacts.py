#!/usr/bin/env python3
"""Makes samples/contacts.csv: 2,160 good rows of people who do not exist, and 22 bad ones, on purpose.

    python3 samples/make_contacts.py > samples/contacts.csv

The same every time. All numbers are of the range 555-0100 to 555-0199, which is kept for fiction. Where the package
`phonenumbers` is installed, each is also checked by libphonenumber's rule; without it the file comes out the same.
"""

import random
import sys

try:
    import phonenumbers
except ImportError:
    phonenumbers = None

RANDOM = random.Random(20261122)

COLUMNS = (
    "signalvine_id customer_id phone first_name last_name active group_list timezone major gpa credits honors "
    "fafsa_complete birth_date enrolled_on last_contact_at advisor_phone crm_id notes"
).split()

AREA_CODES = (
    "205 907 602 501 303 203 302 239 404 808 208 312 317 515 316 502 504 207 410 617 313 612 601 314 406 402 702 603 201 "
    "505 917 716 919 701 216 405 503 215 401 803 605 615 512 801 802 703 206 304 414 307"
).split()

FIRST_NAMES = (
    "Charles Maria José Zoë Søren Łukasz Siân Aoife Renée Jürgen Ñusta Björk Anaïs Çağla Dvořák Iñigo Noël Chloë Ángel "
    "Þóra Emma Liam Olivia Noah Ava Ethan Mia Jamal Aaliyah DeShawn Keisha Tanisha Mateo Camila Diego Lucía Nguyễn Thảo "
    "Đức Hương Phượng Quỳnh 偉 美玲 志明 さくら 翔太 지우 서연 محمد نور ליאור Дмитрий Оксана Γιώργος Ελένη प्रिया अर्जुन "
    "Kealoha ʻIolani"
).split()

LAST_NAMES = (
    "Parsons Garcia O'Brien Müller Nowak Østergaard Lefèvre García-Márquez Šimić Þorsteinsson Åkesson Begay Yazzie "
    "Washington Jefferson Okafor Adeyemi Smith Jones Kowalczyk D'Angelo Nguyễn Trần Phạm Lê 王 張 陳 佐藤 鈴木 김 이 الحسن "
    "كوهين Петров Шевченко Παπαδόπουλος शर्मा Kamakawiwoʻole Zürcher"
).split() + ["van der Berg", "de la Cruz", "Smith, Jr.", 'Ann "Annie" Lee', "St. John"]

MAJORS = [
    "", "Biology", "Nursing", "Computer Science", "Art, History & Design", "Français", "Economics", "Undeclared",
    "Mathematics", "Música", "Philosophy",
]
GROUPS = ["first-gen", "athletes", "honors college", "transfer", "Fall 2026", "commuters", "parents & families", "veterans"]
TIMEZONES = ["", "America/Denver", "America/New_York", "US/Mountain", "America/Chicago", "Pacific/Honolulu", "UTC"]
TRUE = ["true", "True", "TRUE", "yes", "Y", "t", "1"]
FALSE = ["false", "False", "no", "N", "f", "0"]
NOTES = [
    "", "", "", "", "Prefers texts in the evening", "Said \"call me\" twice", "Two siblings here, Ana & Luis",
    "Line one\nLine two", "🎓 first in the family!", "Likes: chess, hiking", "Moved from Québec", "Asked about aid\r\nand housing",
    "=not a formula", "👩‍🔬 wants a lab tour", "50% scholarship; see file", "  spaces are trimmed  ", "Спасибо", "ありがとう", "شكرا",
]


def national_numbers():
    """Numbers of the fictional range, each once."""
    numbers = [f"{area}55501{line:02d}" for area in AREA_CODES for line in range(100)]
    RANDOM.shuffle(numbers)
    for number in numbers:
        if phonenumbers is None or phonenumbers.is_valid_number(phonenumbers.parse(number, "US")):
            yield number
        else:
            sys.exit(f"{number} is not valid: replace its area code")


def spelled(number):
    area, exchange, line = number[:3], number[3:6], number[6:]
    return RANDOM.choice([
        f"({area}) {exchange}-{line}", f"+1 {area} {exchange} {line}", f"{area}-{exchange}-{line}",
        f"{area}.{exchange}.{line}", number, f"1-{area}-{exchange}-{line}", f"+1{number}",
    ])


def date(first_year, last_year):
    year, month, day = RANDOM.randint(first_year, last_year), RANDOM.randint(1, 12), RANDOM.randint(1, 28)
    return RANDOM.choice([f"{year}-{month:02d}-{day:02d}", f"{month:02d}/{day:02d}/{year}", f"{month}/{day}/{year}"])


def date_time():
    offset = RANDOM.choice(["Z", "+00:00", "-07:00", "-0500"])
    seconds = RANDOM.choice(["", ":30", ":07.250", ":59.1234567"])
    day = f"2026-{RANDOM.randint(1, 11):02d}-{RANDOM.randint(1, 28):02d}"
    return f"{day}{RANDOM.choice('T ')}{RANDOM.randint(0, 23):02d}:{RANDOM.randint(0, 59):02d}{seconds}{offset}"


def uuid():
    digits = f"{RANDOM.getrandbits(128):032x}"
    text = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
    return RANDOM.choice([text, text.upper()])


def groups():
    return RANDOM.choice([";", "; "]).join(RANDOM.sample(GROUPS, RANDOM.choice([0, 1, 1, 2, 3])))


def good(number, phone):
    """A row without anything wrong, by column."""
    return {
        "signalvine_id": "",
        "customer_id": f"S{number:06d}",
        "phone": spelled(phone),
        "first_name": RANDOM.choice(FIRST_NAMES),
        "last_name": RANDOM.choice(LAST_NAMES),
        "active": RANDOM.choice(TRUE * 4 + FALSE),
        "group_list": groups(),
        "timezone": RANDOM.choice(TIMEZONES),
        "major": RANDOM.choice(MAJORS),
        "gpa": RANDOM.choice([f"{RANDOM.uniform(1, 4):.2f}", "4", "3.0", "2.50", "3.9e0", "+3.25"]),
        "credits": RANDOM.choice([str(RANDOM.randint(0, 140)), f"{RANDOM.randint(0, 140)}.0", "015"]),
        "honors": RANDOM.choice(TRUE + FALSE + ["", "", ""]),
        "fafsa_complete": RANDOM.choice(TRUE + FALSE),
        "birth_date": RANDOM.choice([date(1985, 2009), date(1999, 2008), ""]),
        "enrolled_on": date(2023, 2026),
        "last_contact_at": RANDOM.choice([date_time(), ""]),
        "advisor_phone": RANDOM.choice(["", "(303) 555-0101", "+13035550102", "303.555.0103"]),
        "crm_id": RANDOM.choice([uuid(), ""]),
        "notes": RANDOM.choice(NOTES),
    }


def bad(phones, first):
    """(what changes, what the report will say of it), by row; `first` is an earlier, good row."""
    return [
        ({"honors": "sure why not"}, "invalid_value honors"),
        ({"credits": "12.5"}, "invalid_value credits"),
        ({"gpa": "3,9"}, "invalid_value gpa"),
        ({"birth_date": "2005-02-30"}, "invalid_value birth_date"),
        ({"enrolled_on": "next fall"}, "invalid_value enrolled_on"),
        ({"last_contact_at": "2026-11-22 12:00"}, "invalid_value last_contact_at: no offset"),
        ({"phone": "555-CALL-NOW"}, "invalid_value phone"),
        ({"advisor_phone": "12345"}, "invalid_value advisor_phone"),
        ({"crm_id": "not-an-id"}, "invalid_value crm_id"),
        ({"timezone": "Mars/Olympus_Mons"}, "invalid_value timezone"),
        ({"signalvine_id": "33a58d8b27cb11e8ad0a"}, "invalid_value signalvine_id, the only one of its row"),
        ({"fafsa_complete": ""}, "missing_value fafsa_complete"),
        ({"phone": ""}, "missing_value phone: a new contact needs one"),
        ({"signalvine_id": "33a58d8b-27cb-11e8-ad0a-0ab427fa565c"}, "unknown_signalvine_id"),
        ({"customer_id": first["customer_id"]}, "duplicate_row customer_id"),
        ({"customer_id": "", "phone": first["phone"]}, "duplicate_row phone"),
        ({"phone": first["phone"]}, "phone_taken"),
        ({"gpa": "A+", "honors": "maybe", "enrolled_on": "", "timezone": "MST7"}, "four errors in one row"),
        ({column: "" for column in COLUMNS}, "missing_value of all that may not be blank"),
    ]


def cell(text):
    if any(mark in text for mark in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text


def line(row):
    return ",".join(cell(row[column]) for column in COLUMNS)


def main():
    phones = national_numbers()
    rows = [good(number, next(phones)) for number in range(1, 2161)]
    lines = [line(row) for row in rows]
    wrong = [line(good(900000 + number, next(phones)) | change) for number, (change, _) in enumerate(bad(phones, rows[0]))]
    broken = line(good(900100, next(phones)))
    wrong.append(broken.rsplit(",", 1)[0])                            # cell_count: one too few
    wrong.append(line(good(900101, next(phones))) + ",one too many")  # cell_count
    wrong.append(',"S900102"x' + broken[broken.index(",", 1):])        # bad_quotes: text after a closing quote
    for number, text in enumerate(wrong):
        lines.insert((number + 1) * 97, text)
    sys.stdout.reconfigure(encoding="utf-8", newline="")
    print("\n".join([",".join(COLUMNS)] + lines))


main()
