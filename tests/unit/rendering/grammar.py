"""Templates and variables by chance, as hypothesis makes them."""

from __future__ import annotations

from hypothesis import strategies as st

from server.rendering.filters import FILTERS

NAMES = st.sampled_from(["a", "b", "user", "list", "size", "first"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
VARIABLES = st.dictionaries(NAMES, VALUES, max_size=5)
PATHS = st.builds(lambda root, keys: root + "".join(keys), NAMES, st.lists(
    st.sampled_from([".a", ".size", ".first", ".last", "[0]", "[-1]", "['a']", "['size']"]), max_size=3
))  # fmt: skip
PLAIN = st.text(max_size=6).filter(lambda text: "{" not in text)

LITERALS = st.sampled_from(["1", "-2.5", "'x'", "''", "nil", "true", "(1..3)", "0", "99999999999999999999", "' '"])
OPERANDS = PATHS | LITERALS


def called(names: st.SearchStrategy[str], arguments: st.SearchStrategy[list[str]]) -> st.SearchStrategy[str]:
    return st.builds(lambda name, given: f" | {name}" + (": " + ", ".join(given) if given else ""), names, arguments)


CALLS = called(st.sampled_from(sorted(FILTERS)), st.lists(OPERANDS, max_size=3))
FILTERED = st.builds(lambda value, calls: value + "".join(calls), OPERANDS, st.lists(CALLS, max_size=3))
CONDITIONS = st.builds(
    lambda left, operator, right: f"{left} {operator} {right}",
    OPERANDS,
    st.sampled_from(["==", "!=", "<", ">", "<=", ">=", "contains", "and", "or", "and not"]),
    OPERANDS,
)
LEAVES = PLAIN | FILTERED.map("{{{{ {} }}}}".format) | FILTERED.map("{{% assign a = {} %}}".format)


def blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, CONDITIONS, inner, inner),
        st.builds("{{% unless {} %}}{}{{% endunless %}}".format, CONDITIONS, inner),
        st.builds("{{% for b in {} %}}{}{{{{ forloop.index }}}}{{% endfor %}}".format, OPERANDS, inner),
        st.builds("{{% case {} %}}{{% when {} %}}{}{{% endcase %}}".format, OPERANDS, OPERANDS, inner),
        st.builds("{{% capture a %}}{}{{% endcapture %}}".format, inner),
        st.builds("{{% cycle {}, {} %}}{}".format, OPERANDS, OPERANDS, inner),
    )


TEMPLATES = st.recursive(LEAVES, blocks, max_leaves=8)
