import pytest

from reverie.extension.names import canonical, component_name_fault, listing, plugin_name_fault, suggest, target_fault


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("rsm", "did you mean 'rssm'?"),
        ("RSSM", "did you mean 'rssm'?"),
        ("hot", "did you mean 'two_hot' or 'one_hot'?"),
        ("zzzzzz", ""),
        ("", ""),
    ],
)
def test_suggest_names_what_was_probably_meant(written: str, expected: str) -> None:
    assert suggest(written, ["rssm", "one_hot", "two_hot", "identity"]) == expected


def test_suggest_lists_at_most_three_in_one_sentence() -> None:
    assert suggest("head_x", ["head_a", "head_b", "head_c", "head_d"]).count("'head_") == 3
    assert " or " in suggest("head_x", ["head_a", "head_b"])
    assert suggest("x", []) == ""


def test_listing_is_sorted_and_says_none() -> None:
    assert listing(["b", "a", "b"]) == "'a', 'b'"
    assert listing([]) == "none"


@pytest.mark.parametrize("name", ["rssm", "a", "two_hot2"])
def test_legal_component_names(name: str) -> None:
    assert component_name_fault(name) == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Rssm", "lower case"),
        ("1st", "letter first"),
        ("a-b", "underscores"),
        ("a/b", "underscores"),
        ("a.b", "underscores"),
        ("../x", "underscores"),
        ("rssm\n", "underscores"),
        ("\x1b[31m", "underscores"),
        ("", "letter first"),
        ("null", "YAML"),
        ("on", "YAML"),
        ("a" * 65, "longer"),
        (7, "text"),
        (None, "text"),
    ],
)
def test_illegal_component_names_say_why(name: object, reason: str) -> None:
    assert reason in component_name_fault(name)


@pytest.mark.parametrize("name", ["rssm", "my-plugin", "my.plugin_2", "X"])
def test_legal_plugin_names(name: str) -> None:
    assert plugin_name_fault(name) == ""


@pytest.mark.parametrize("name", ["", "-x", "x-", "a/b", "a b", "a\n", "\x1b[2J", "é", "x" * 65])
def test_illegal_plugin_names(name: str) -> None:
    assert plugin_name_fault(name)


@pytest.mark.parametrize("target", ["a:B", "a.b.c:D_1", "_a:_B"])
def test_legal_targets(target: str) -> None:
    assert target_fault(target) == ""


@pytest.mark.parametrize("target", ["a.b.C", "a:B.c", ":B", "a:", "a..b:C", "a b:C", "a:B:C", "a:B\n", "", None, 3])
def test_malformed_targets(target: object) -> None:
    assert 'of the form "package.module:Class"' in target_fault(target)


def test_distributions_compare_by_canonical_name() -> None:
    assert canonical("My_Dist.x") == canonical("my-dist-X") == "my-dist-x"
