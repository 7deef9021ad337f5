"""The table of settings in docs/files.md is the one that the declarations give."""

import re
from pathlib import Path

import pytest

from dropbench.errors import DropbenchError
from dropbench.run.config import SETTINGS
from dropbench.run.document import BEGIN, END, main, settings_table, with_settings_table

FILES = Path(__file__).parents[2] / "docs" / "files.md"


def test_the_documented_settings_are_the_declared_ones():
    page = FILES.read_text(encoding="utf-8")
    # After a change of a setting: python -m dropbench.run.document --write docs/files.md
    assert page == with_settings_table(page)


def test_every_setting_has_a_row_with_its_flag_and_help():
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in settings_table().splitlines()[2:]]
    assert all(len(row) == 5 for row in rows)
    assert {row[0].strip() for row in rows} == {f"`{name}`" for name in SETTINGS}
    for row in rows:
        each = SETTINGS[row[0].strip(" `")]
        assert row[1].strip(" `") == each.flag
        assert row[4].strip().replace("\\|", "|") == each.help


def test_the_table_is_printed(capsys):
    main([])
    assert capsys.readouterr().out == f"{settings_table()}\n"


def test_writing_replaces_what_is_between_the_markers_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n", encoding="utf-8")
    main(["--write", str(page)])
    written = page.read_text(encoding="utf-8")
    assert written == f"before\n\n{BEGIN}\n\n{settings_table()}\n\n{END}\n\nafter\n"
    main(["--write", str(page)])
    assert page.read_text(encoding="utf-8") == written


@pytest.mark.parametrize("page", ["nothing", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{BEGIN}"])
def test_a_page_without_both_markers_is_left_alone(page, tmp_path):
    with pytest.raises(DropbenchError, match="no place for the table"):
        with_settings_table(page)
    file = tmp_path / "page.md"
    file.write_text(page, encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["--write", str(file)])
    assert file.read_text(encoding="utf-8") == page
