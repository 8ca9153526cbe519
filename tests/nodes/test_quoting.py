"""Values in scripts: in each kind of place they arrive as they are, or are refused when the template is read; none is ever run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from persistable.errors import ParamsError
from persistable.nodes.command import Command
from persistable.nodes.command.template import Script

EVIL = "a'; touch hit; '$(touch hit)`touch hit`\"; touch hit; \"\ntouch hit\nEOF\n}touch hit # $HOME \\ a[$(touch hit)]"

# ``SAY x`` writes x into the file `out`; in these places a value is a word of its own or a part of one
ARRIVES = {
    "a word": "SAY {{ x }}",
    "behind a quoted word": 'SAY ""{{ x }}',
    "before a quoted word": "SAY {{ x }}''",
    "between quotes": """SAY ''{{ x }}"" """,
    "an assignment": 'v={{ x }}; SAY "$v"',
    "an export": 'export v={{ x }}; SAY "$v"',
    "a substitution": 'SAY "$(printf %s. {{ x }})" dot',
    "a substitution in quotes": 'y="a $(true "b c"; printf %s. {{ x }})"; SAY "${y#a }" dot',
    "nested substitutions": 'SAY "$(printf %s "$(printf %s. {{ x }})")" dot',
    "a subshell": "(SAY {{ x }})",
    "a block": "{ SAY {{ x }}; }",
    "a condition": 'if [ {{ x }} = "$(printf %s "a  b")" ]; then :; fi; SAY {{ x }}',
    "a loop": 'for v in {{ x }}; do SAY "$v"; done',
    "a case": "case {{ x }} in *) SAY {{ x }};; esac",
    "behind a case": "case a in a) true;; esac; SAY {{ x }}",
    "behind a comment": "# it's \"one $( `\nSAY {{ x }}",
    "behind a comment without a space": "true;# it's\nSAY {{ x }}",
    "behind a number sign": "SAY $#{{ x }} count",
    "behind a here-document": "cat > /dev/null <<EOF\nit's $(true) {% raw %}{{ x }}{% endraw %}\nEOF\nSAY {{ x }}",
    "behind a quoted here-document": "cat > /dev/null <<'E F'\nit's $( \" `\nE F\nSAY {{ x }}",
    "behind a here-document with tabs": "cat > /dev/null <<-E\n\tit's\n\tE\nSAY {{ x }}",
    "behind an expansion": 'v=1; : ${v:-"a b"} "${v#a}" ${#v} $#; SAY {{ x }}',
    "behind arithmetic": ": $(( (1 + 2) * 3 << 1 )); SAY {{ x }}",
    "behind a continued line": "SAY \\\n  {{ x }}",
    "of a loop of the template": "{% for each in [x] %}SAY {{ each }}{% endfor %}",
    "of a block of the template": "{% set y %}{{ x }}{% endset %}SAY {{ y }}",
    "in a pipe": "printf %s {{ x }} | cat > out",
}
REFUSED = {
    "double quotes": 'SAY "{{ x }}"',
    "double quotes with more": 'SAY "a $HOME {{ x }} b"',
    "single quotes": "SAY '{{ x }}'",
    "the script of another shell": "sh -c 'SAY {{ x }}'",
    "dollar quotes": "SAY $'{{ x }}'",
    "behind a dollar": "SAY ${{ x }}",
    "behind a backslash": "SAY \\{{ x }}",
    "backticks": "SAY `printf %s {{ x }}`",
    "backticks in quotes": 'SAY "`printf %s {{ x }}`"',
    "a here-document": "cat > out <<EOF\n{{ x }}\nEOF\n",
    "a quoted here-document": "cat > out <<'EOF'\n{{ x }}\nEOF\n",
    "the end of a here-document": "cat > out <<{{ x }}\nEOF\n",
    "a here-document whose end is no end": "cat > out <<EOF\na\\\nEOF\n{{ x }}\nEOF\n",
    "an expansion": "SAY ${v:-{{ x }}}",
    "an expansion in quotes": 'SAY "${v:-{{ x }}}"',
    "a substitution in an expansion": 'SAY "${v:-$(printf %s {{ x }})}"',
    "arithmetic": "SAY $(( {{ x }} + 1 ))",
    "arithmetic in parentheses": "SAY $(( (1 + {{ x }}) ))",
    "old arithmetic": "SAY $[ {{ x }} ]",
    "an arithmetic command": "(( v = {{ x }} )); SAY 1",
    "let": "let v={{ x }}; SAY 1",
    "let behind another": "true && let {{ x }}",
    "let with a substitution": "let $(true) {{ x }}",
    "a test": "[[ {{ x }} -eq 1 ]] || SAY 1",
    "a test at the begin of a line": "true\n[[ -v {{ x }} ]] || SAY 1",
    "a test of a variable": "test -v {{ x }} || SAY 1",
    "a subscript": "v[{{ x }}]=1; SAY 1",
    "a subscript in a list": "v=([{{ x }}]=1)",
    "eval": "eval {{ x }}",
    "eval behind a variable": "A=1 eval SAY {{ x }}",
    "an integer": "declare -i v={{ x }}",
    "a declared name": "declare {{ x }}=1",
    "unset": "unset {{ x }}",
    "a case in quotes": 'y="$(case a in a) echo "{{ x }}";; esac)"',
    "behind a # behind a parenthesis": "(true)# it's\necho '{{ x }}'",
}


def run(script: str, shell: str, folder: Path) -> str:
    (folder / "script").write_text('SAY() { printf %s "$1" > out; }\n' + script, encoding="utf-8")
    try:
        subprocess.run([shell, "script"], cwd=folder, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
    except subprocess.TimeoutExpired:
        pass  # a script drawn at random may call itself for ever
    assert not (folder / "hit").exists(), script
    return (folder / "out").read_bytes().decode() if (folder / "out").exists() else ""


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("place", ARRIVES)
@settings(max_examples=5)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")))
@example(EVIL)
@example("~")
@example("")
@example("-n")
def test_a_value_arrives_as_it_is(tmp_path_factory: pytest.TempPathFactory, place: str, shell: str, text: str) -> None:
    script = Script(ARRIVES[place]).render({"x": text})
    told = run(script, shell, tmp_path_factory.mktemp("s"))
    expected = text + "." if script.rstrip().endswith("dot") else f"0{text}" if script.endswith("count") else text
    assert told == expected, script


@pytest.mark.parametrize("place", REFUSED)
def test_where_it_could_be_run_it_is_refused(place: str) -> None:
    with pytest.raises(ParamsError, match=r"line \d+ of the template .* raw"):
        Command(REFUSED[place], x=EVIL)
    with pytest.raises(ParamsError, match="raw"):
        Command(REFUSED[place], x="harmless")
    Command(REFUSED[place].replace("{{ x }}", "{{ x | raw }}"), x="y")


PIECES = [
    *"'\"`$(){}[]<>#;&|\\\n \t=!~*?ab1",
    "$(",
    "${",
    "$((",
    "))",
    "[[ ",
    " ]]",
    "<<E\n",
    "\nE\n",
    "\\\n",
    "case a in a) ",
    ";; esac",
    "$'",
    " # ",
    "SAY ",
]


@settings(max_examples=100)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.lists(st.sampled_from(PIECES), max_size=8))
def test_no_template_lets_a_value_be_run(tmp_path_factory: pytest.TempPathFactory, before: list[str], after: list[str]) -> None:
    text = "".join(before) + "\0" + "".join(after)
    if "{{" in text or "{%" in text:
        return
    try:
        script = Script(text.replace("\0", "{{ x }}")).render({"x": EVIL})
    except ParamsError:
        return
    run(script, "bash", tmp_path_factory.mktemp("s"))


@pytest.mark.parametrize(
    ("template", "value", "script"),
    [
        ("awk '{print $1 * {{ x }}}'", 3, "awk '{print $1 * 3}'"),
        ("echo $(( {{ x }} + 1 ))", -2, "echo $(( -2 + 1 ))"),
        ('echo "{{ x }}"', 0.5, 'echo "0.5"'),
        ("for i in {1..{{ x }}}; do :; done", 3, "for i in {1..3}; do :; done"),
        ("echo {{ x }}>out", 2, "echo '2'>out"),
        ("true # as {{ x }}", "it's", "true # as it's"),
        ("echo {{ x }}", ["a b", 1], "echo 'a b' 1"),
        ("echo {{ x | raw }}", "$HOME", "echo $HOME"),
    ],
)
def test_what_is_written(template: str, value: object, script: str) -> None:
    assert Script(template).render({"x": value}) == script


def test_a_comment_takes_no_second_line() -> None:
    with pytest.raises(ParamsError, match="comment"):
        Script("true # {{ x }}").render({"x": "a\ntouch hit"})


def test_a_value_cannot_stand_for_another() -> None:
    for text in ("\0", "\x000\0", "a\x001\0"):
        with pytest.raises(ParamsError, match="zero byte"):
            Command("echo {{ x }} {{ y }}", x="first", y=text)
