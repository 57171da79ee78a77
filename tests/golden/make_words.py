# SPDX-License-Identifier: Apache-2.0
"""Writes words.txt: texts and the words that GPT-2's pattern cuts them into, one text a line, words as hexadecimal
UTF-8 with blanks between. The reference is the pattern itself on a text in which every character stands for its class.

    python3 tests/golden/make_words.py tests/golden/words.txt
"""
import random
import re
import sys
import unicodedata

PATTERN = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
SPACES = {0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, *range(0x2000, 0x200B), *range(0x9, 0xE)}


def stand_in(char):
    code = ord(char)
    if code in SPACES:
        return "\t"
    if code < 0x80:
        return char if code >= 0x20 else "!"
    return {"L": "X", "N": "1"}.get(unicodedata.category(char)[0], "!")


def words(text):
    return [text[m.start():m.end()] for m in PATTERN.finditer("".join(map(stand_in, text)))]


def main():
    random.seed(1)
    pool = list("abstremvld'''  \n\t 0123.,!?-") + list("éßЖ中語अ٣½Ⅷ²€—“”…\u00a0\u2003\u3000\u0301😀\u200d\u1e9e")
    texts = ["Hello world", "I'll say it's  we've\n\n  'tis '", "x=12+3.5e-7;", " lead", "trail \n ", "  a", "a  ", " ",
             "''s ''re", "a'b'c 'll'd", "don't DON'T can’t"]
    texts += ["".join(random.choices(pool, k=random.randint(1, 40))) for _ in range(150)]
    with open(sys.argv[1], "w") as out:
        for text in texts:
            assert "".join(words(text)) == text
            out.write(" ".join(word.encode().hex() for word in words(text)) + "\n")


main()
