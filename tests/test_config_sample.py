import re

from rfbproxy.config import Config
from rfbproxy.config_check import check
from rfbproxy.config_sample import WIDTH, config_sample
from rfbproxy.options import GROUPS
from rfbproxy.options.retired import UNUSED_BY_THE_SERVICE


def test_every_option_stands_in_its_group_with_its_help_and_old_names():
    sections = dict(re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", config_sample(), re.MULTILINE | re.DOTALL))
    assert list(sections) == list(GROUPS)
    for group, options in GROUPS.items():
        assert re.findall(r"^#(\w+) =", sections[group], re.MULTILINE) == [option.dest for option in options]
        words = " ".join(sections[group].replace("\n# ", " ").split())
        for option in options:
            assert " ".join(option.help.split()) in words
            for old in option.deprecated_opts:
                assert f"# Old name: [{old.group}] {old.name}\n" in sections[group]


def test_it_is_all_comments_and_not_wide():
    for line in config_sample().splitlines():
        assert not line or line.startswith(("#", "["))
        assert len(line) <= WIDTH or line.startswith("# One of") or "=" in line


def test_it_can_be_used_as_it_is_and_taken_out_of_its_comment(tmp_path):
    (tmp_path / "sample.conf").write_text(config_sample())
    config = Config([str(tmp_path / "sample.conf")], base=tmp_path)
    assert config.written == ()
    assert check(config) == []

    (tmp_path / "sample.conf").write_text(re.sub(r"^#(\w+ =)", r"\1", config_sample(), flags=re.MULTILINE))
    taken = Config([str(tmp_path / "sample.conf")], base=tmp_path)
    assert {each.key for each in taken.written} == {(group, o.dest) for group, all_ in GROUPS.items() for o in all_}
    assert {finding.option for finding in check(taken)} == {
        "[consoleproxy] libvirt_xml",  # without the check that needs it
        *(f"[{group}] {name}" for group, name in UNUSED_BY_THE_SERVICE),
    }


def test_what_is_unset_has_something_that_could_stand_there():
    sample = config_sample()
    assert "# Unset by default.\n#key =\n" in sample
    assert "# One of: filter, all, off\n# Unset by default.\n#streaming_mode = filter\n" in sample
    assert "# Unset by default.\n#playback_compression = True\n" in sample
    assert "# Any of: vencrypt, sasl, vnc, ard, mslogon2, none\n#auth_schemes = vencrypt,sasl,vnc,none\n" in sample
