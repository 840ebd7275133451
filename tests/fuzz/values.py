"""What is often forgotten: values for numbers, paths, texts, TOML and JSON, and damage to a file."""

import json
from collections.abc import Sequence

from hypothesis import strategies as st

from tests.fuzz.scene import CANARY, HERE

COMMAND = f"touch {HERE}/{CANARY}"
NO_NUMBERS = ("", " ", "²", "٣", "NaN", "nan", "inf", "-inf", "1e300", "1_0", "0x10", "1,5", "--", "None",
              "1" * 5000, "\x1b[2J", "1\n2", "true", "½", "1e", f"$({COMMAND})")  # fmt: skip
NUMBERS = ("0", "-1", "1", "2", "3", "8", "100000000", "9" * 19, "9" * 40, "-0", "+1", "007", "0.5", "1e5", "65536",
           "1e-320")
PATHS = (
    "", " ", ".", "gone", "gone/deep", "plain.txt", "plain.txt/below", "folder", "empty.txt", "fifo", "loop",
    "dangling",
    "/dev/null", "/dev/zero", "/dev/full", "/proc/none/x", "/proc/self/mem", "a" * 300, "b/" * 2100 + "c",
    "new\nline", 'quo"te', "it's", "$(" + COMMAND + ")", "`" + COMMAND + "`", f";{COMMAND};", "-dash", "--", "--out",
    "sp ace", "é", "e\u0301", "caf\udce9", "\x1b]0;title\x07", "{}", "{0}", "%s%n", "~", "*", "a:b", "zeros.bin",
    "locked", "locked/x", f"{HERE}/folder", "\u202egnp.exe",
)  # fmt: skip
TEXTS = (
    "", " ", "x", "²", "é", "\u202e", "\x1b[2J", "\x07", "a\nb", "a\rb", "$x^{$", r"\frac", "$$",
    "<script>alert(1)</script>",
    "](javascript:alert(1))", "|", "`", "'; DROP", f"$({COMMAND})", f"`{COMMAND}`", "{}", "{0.__class__}", "%s",
    "a" * 3000,
    "\ud800", "\x00", "NaN", "none", "null", "../../x", "/etc/passwd", "{{ 7*7 }}", "{% raise %}", "=1+1", "\ufeff",
    "-->",
)  # fmt: skip
JSON = (
    "null", "true", "[]", "{}", '""', '"x"', "-1", "0", "1e999", "-1e999", "NaN", "Infinity", "1" * 5000, "1" * 400,
    "[" * 5000 + "]" * 5000, '{"a":' * 3000 + "1" + "}" * 3000, "1e-400", "[[1, 2], 3]", '{"value": 1}',
    '"' + "a" * 70000 + '"',
    '"\\ud800"', '"\\u001b[2J"', "1.5", "-0.0", "9007199254740993", "{", "'x'", "", "0.5, 0.5", '["a", 1]', "1e308",
)  # fmt: skip
TOML = (
    "true", "[]", "{}", '""', '"x"', "-1", "0", "1", "2", "1.5", "0.5", "nan", "inf", "-inf", "1e308", "5e-324",
    "-0.0", "1e999",
    "1" * 5000, "1" * 400, "100000000", "1000000000000000000", "[" * 3000 + "]" * 3000, "[1, 2]", "[0.5, nan]",
    "[[0, 1]]",
    "[[0, 8], [1, 4]]", '["a"]', "1979-05-27", "07:32:00", "{ value = 1 }", '"none"', '"\\u001b[2J"', '"a\\nb"', '"²"',
    '"cubic:²"', '"size:1e400MB"', '"size:0MB"', '"cubic:0"', '"../x"', "0x10", "1_0", "'$(" + COMMAND + ")'", "",
    "[-3]", "[" + "1, " * 5000 + "]", '"' + "a" * 5000 + '"',
)  # fmt: skip
BYTES = (
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r\n", b"\x1a", b"\x1f\x8b\x08", b"[" * 3000,
    b"{" * 3000, b'"',
    b"1" * 5000, b"\x80", b"\n\n", b"\\", b"'''", b"=", b"#", b"]", b"\x1b[2J", b"NaN",
)  # fmt: skip


def sampled(values: Sequence) -> st.SearchStrategy:
    return st.sampled_from(values)


numbers = sampled(NUMBERS) | sampled(NO_NUMBERS)
words = sampled(TEXTS) | st.text(max_size=20).filter(lambda text: "\x00" not in text)
paths = sampled(PATHS)


def argument(text: str) -> str:
    """As a word of a command line or the value of a variable, which hold no NUL and no other half of a pair."""
    return "".join(letter for letter in text.replace("\x00", "") if not 0xD800 <= ord(letter) < 0xDC80 and ord(letter)
                   not in range(0xDD00, 0xE000))  # fmt: skip


json_values = sampled(JSON) | words.map(json.dumps)


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """Bytes with one to three of: cut off, a piece replaced, a piece twice, a byte changed."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 40))
        how = draw(st.integers(0, 4))
        if how == 0:
            content = content[:at]
        elif how == 1:
            content = content[:at] + draw(sampled(BYTES)) + content[at + length :]
        elif how == 2:
            content = content[: at + length] + content[at:]
        elif how == 3 and content:
            at = min(at, len(content) - 1)
            content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
        else:
            content = content[:at] + draw(st.binary(max_size=20)) + content[at:]
    return content


@st.composite
def damaged_lines(draw, text: str) -> bytes:
    """A text with lines gone, twice, swapped or cut, else damaged as bytes."""
    lines = text.splitlines(keepends=True)
    how, at = draw(st.integers(0, 4)), draw(st.integers(0, max(0, len(lines) - 1)))
    other = draw(st.integers(0, max(0, len(lines) - 1)))
    if how == 0:
        del lines[at : at + draw(st.integers(1, 8))]
    elif how == 1:
        lines[at:at] = [lines[other]] * draw(st.integers(1, 4))
    elif how == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif how == 3:
        lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
    else:
        return draw(damaged(text.encode()))
    return "".join(lines).encode()
