"""What a hostile template costs: every attack runs in a process of its own with hard limits on CPU time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "programs" / "attacked.py"
MOST_CPU_SECONDS = 0.1
MOST_BYTES = 64 << 20
SOURCE = 16 * 1024

NUMBERS = list(range(999))
SHUFFLED = [number * 7919 % 9973 for number in range(1_300)]
VARIABLES: dict[str, Any] = {
    "big": "a" * 60_000,
    "wide": "é" * 60_000,
    "emoji": "😀" * 60_000,
    "few": "a" * 250,
    "many": "😀" * 250,
    "tags": "<a>" * 20_000,
    "open": "<" * 60_000,
    "digits": "1" * 60_000 + "x",
    "spaces": " a" * 30_000,
    "list": NUMBERS,
    "same": NUMBERS,
    "shuffled": SHUFFLED,
    "kinds": [str(number) if number % 2 else number for number in SHUFFLED],
    "deep": [{"a": {"a": {"a": {"a": number}}}} for number in range(300)],
    "date": "2026-03-05T14:07:09Z",
    "words": "January " * 7,
    "no": False,
}


def times(piece: str, size: int = SOURCE) -> str:
    return piece * (size // len(piece))


def looped(body: str) -> str:
    return "{% for i in (1..9999) %}" + body + "{% endfor %}"


def doubled(start: str, step: str, end: str = "") -> str:
    return "{% assign a = " + start + " %}" + step * 60 + end


ATTACKS = {
    # Loops
    "range": "{% for i in (1..100000000) %}x{% endfor %}",
    "range of more than memory": "{% for i in (1..99999999999999999999999999) %}x{% endfor %}",
    "range reversed": "{% for i in (1..100000000) reversed %}x{% endfor %}",
    "range in tablerow": "{% tablerow i in (1..100000000) %}{% endtablerow %}",
    "loops in loops": "{% for i in (1..999) %}" * 3 + "{% endfor %}" * 3,
    "loops one after the other": 120 * "{% for i in(1..999)%}{%endfor%}",
    "long body without output": looped(490 * "{{x}}"),
    "long body of assigns": looped(290 * "{%assign a=1%}"),
    "long chain of elsif": looped("{% if no %}" + 700 * "{%elsif no%}" + "{% endif %}"),
    "offset to the end": looped("{% for j in list offset:998 %}{% endfor %}"),
    "increments": looped(490 * "{%increment a%}"),
    # Ranges outside of loops
    "range joined": "{{ (1..100000000) | join }}",
    "range shown": "{{ (1..100000000) }}",
    "range turned": "{{ (1..50000000) | reverse }}",
    "range sorted": "{{ (1..50000000) | sort }}",
    "range without doubles": "{{ (1..50000000) | uniq }}",
    "range summed": "{{ (1..50000000) | sum }}",
    "range searched": "{% if (1..100000000) contains 'x' %}{% endif %}",
    "range compared": "{% if (1..100000000) == (1..100000001) %}{% endif %}",
    "range in case": "{% case x %}{% when (1..100000000) %}{% endcase %}",
    "range in cycle": "{% cycle (1..100000000), 1 %}",
    # Growth
    "append": doubled("'aaaaaaaaaa'", "{% assign a = a | append: a %}"),
    "capture": doubled("'aaaaaaaaaa'", "{% capture a %}{{a}}{{a}}{% endcapture %}"),
    "concat": doubled("list", "{% assign a = a | concat: a %}"),
    "lists in lists, shown": doubled("list", "{% assign a = a | push: a | unshift: a %}", "{{ a }}"),
    "lists in lists, as JSON": doubled("same", "{% assign a = a | push: a | push: a %}", "{{ a | json }}"),
    "short lists in lists": doubled("'x' | split: ''", "{% assign a = a | push: a | push: a %}", "{{ a | join }}"),
    "replace": "{{ 'aaaaaaaaaa' " + "| replace: 'a','aaaaaaaaaa' " * 8 + "}}",
    "replace nothing": "{{ big | replace: '', big }}",
    "join with a long separator": "{{ list | join: emoji }}",
    "kept texts": "".join(f"{{%assign a{index}=few|replace:'a',many%}}" for index in range(160)),
    "one text shown often": 700 * "{{ emoji }}",
    "times": "{{ 9999999999 " + "| times: 9999999999999 " * 300 + "}}",
    "many variables": "".join(f"{{%assign a{index}=big%}}" for index in range(300)),
    "long ends of cut texts": "{{ big | truncate: 9, big | truncatewords: 1, big }}",
    "width in a date": "{{ date | date: '" + "%99999Y" * 30 + "' }}",
    "long date format": "{{ date | date: '" + times("%9999Y", SOURCE - 50) + "' }}",
    # Filters and comparisons in bulk
    "upcase": "{{ big" + 700 * "|upcase" + " }}",
    "strip_html": 180 * "{{ tags | strip_html }}",
    "strip_html of what is not closed": 180 * "{{ open | strip_html }}",
    "sort": 180 * "{{ list | sort | sort_natural | size }}",
    "where": 180 * "{{ list | where: 'a.b.c' | size }}",
    "sort of what is in no order": 180 * "{{ shuffled | sort | size }}",
    "sort of what is of all kinds": 180 * "{{ kinds | sort | size }}{{ kinds | sort_natural | size }}",
    "where by a long path": "{{ list | where: '" + "a." * 7_000 + "' | size }}",
    "map by a long path": "{{ deep | map: '" + "a." * 7_000 + "' | size }}" + "{{ deep | map: 'a.a.a.a' | size }}" * 20,
    "uniq": 180 * "{{ shuffled | uniq | size }}",
    "JSON": 180 * "{{ list | json | size }}",
    "url_encode": 180 * "{{ wide | url_encode | size }}",
    "no number": 180 * "{{ digits | plus: 1 }}",
    "words": 180 * "{{ spaces | number_of_words }}{{ spaces | squish | size }}",
    "dates": looped("{{ date | date: '" + "%c" * 99 + "' }}"),
    "no dates": looped("{{ words | date: '%Y' }}"),
    "lists compared": looped("{% if list == same %}{% endif %}"),
    "lists in case": looped("{% case list %}{% when same" + 700 * ",same" + " %}{% endcase %}"),
    "lists in cycle": looped("{% cycle list, same %}"),
    "lists searched for": looped("{% if 'a' contains list %}{% endif %}"),
    "texts searched": looped("{% if big contains 'aab' %}{% endif %}"),
    "texts measured": looped("{% if wide.size == 1 %}{% endif %}"),
    # Reading the template
    "{{x}}": times("{{x}}"),
    "{%assign%}": times("{%assign a=1%}"),
    "{%for%}": times("{% for i in(1..999)%}{%endfor%}"),
    "filters": "{{ a" + times("|upcase", SOURCE - 20) + " }}",
    "{{": times("{{"),
    "{{ after }}": times("}}", SOURCE // 2) + times("{{", SOURCE // 2),
    "{%": times("{%"),
    "{{ and spaces": "{{" + " " * (SOURCE - 2),
    "spaces in {{ }}": "{{" + " " * (SOURCE - 4) + "}}",
    "{{'": times("{{'"),
    "raw": times("{% raw %}"),
    "comment": times("{% comment %}"),
    "endraw": "{% raw %}" + times("{%   end", SOURCE - 10),
    "(": "{{ " + times("(", SOURCE - 10) + " }}",
    "[": "{{ a" + times("[a", SOURCE - 10) + " }}",
    "['": "{{ a" + times("[''", SOURCE - 10) + " }}",
    "keys in keys": times("{{ a" + "[a" * 150 + "]" * 150 + " }}"),
    "keys in keys, deeper": times("{{ a" + "[a" * 900 + "]" * 900 + " }}"),
    "[ and spaces": "{{ a" + times("[ ", SOURCE - 10) + "}}",
    "digits": "{{ " + "1" * (SOURCE - 10) + " }}",
    "quotes": "{{ " + times("'\"", SOURCE - 10) + " }}",
    "backslashes": "{{ '" + "\\" * (SOURCE - 10) + "' }}",
    "dots": "{{ a" + times(".a", SOURCE - 10) + " }}",
    "and": "{% if a" + times(" and a", SOURCE - 40) + " %}{% endif %}",
    "not": "{% if " + times("not ", SOURCE - 40) + "a %}{% endif %}",
    "arguments": "{{ a | default: " + times("a,", SOURCE - 40) + "a }}",
    "blocks in blocks": times("{% if a %}", SOURCE // 2) + times("{% endif %}", SOURCE // 2),
    "liquid in liquid": "{% liquid " + times("liquid ", SOURCE - 40) + " %}",
    "spaces in liquid": "{% liquid echo a" + " " * (SOURCE - 40) + "b\n %}",
    "lines in liquid": "{% liquid echo a" + "\n" * (SOURCE - 40) + "%}",
    "lines in a comment": "{% # " + "\n" * (SOURCE - 20) + "%}",
    "filters in filters": times("{{a|size|size|size|size}}"),
    "templates that call themselves": "{% include 'a' %}{% render 'a' %}",
}

EVERYWHERE = {
    "parts in all fields": times("{{x}}"),
    "loops in all fields": times("{% for i in(1..9)%}{%endfor%}"),
    "work without variables in all fields": "{% for i in (1..999) %}{% for j in (1..20) %}{% endfor %}{% endfor %}",
    "filters without variables in all fields": "{{ 'a'" + "|upcase" * 2_000 + " }}",
}
"""These come in the title, the body and ten values of the data."""

CONTENTS: dict[str, dict[str, Any]] = {
    **{name: {"body": template} for name, template in ATTACKS.items()},
    **{
        name: {
            "title": template[:5_000],
            "body": template[:5_000],
            "data": dict.fromkeys("abcdefghij", template[:5_000]),
        }
        for name, template in EVERYWHERE.items()
    },
}


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    work = json.dumps({"templates": list(CONTENTS.values()), "variables": VARIABLES})
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, PROGRAM], input=work, capture_output=True, text=True, timeout=150, check=True
    )
    return dict(zip(CONTENTS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("attack", CONTENTS)
def test_ends_soon_and_small(results: dict[str, dict[str, Any]], attack: str) -> None:
    result = results[attack]
    assert result["status"] == 0, "killed by the limit on CPU time, or died"
    assert "MemoryError" not in result["outcome"]
    assert result["outcome"], "no answer"
    assert result["cpu"] < MOST_CPU_SECONDS
    assert result["memory"] < MOST_BYTES


def test_the_limits_stay_out_of_the_way(results: dict[str, dict[str, Any]]) -> None:
    assert results["upcase"]["outcome"] == "content.body: the template does too much work (line 1, column 1)"
    assert results["backslashes"]["outcome"].endswith("characters")
