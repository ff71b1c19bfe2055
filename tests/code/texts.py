"""Texts that would end a literal, a line or a comment, or show as something else."""

import random

NASTY = (
    "", '"', "\\", '"#', '"##; drop()', "*/", "// x", "\r", "\r\n", "\n", "\0", "\t", "\x1b[31m", "\x7f", "\x85",
    "\u202e", "\u2066abc\u2069", "\u200b", "\ufeff", "\u2028", "é", "e\u0301", "日本", "\U0001f600", "\U0010ffff",
    "{}", "{0}", "$1", "${name}", "$$", "\\n", "\\u{41}", "\\x41", "\\\n   x", "'", "b'x'", 'r#"x"#', "a\\", " ", "ﬁ",
)  # fmt: skip


def nasty_texts() -> list[str]:
    """Some 240 of them, the same every time."""
    seed = random.Random(3)
    return [*NASTY, *("".join(seed.choices(NASTY, k=seed.randint(2, 5))) for _ in range(200))]
