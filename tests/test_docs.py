"""The reference says what the code does."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_generated_pages_are_up_to_date(tmp_path):
    program = (
        "import sys, pathlib; sys.path.insert(0, 'docs'); import make_reference as m; "
        "[(pathlib.Path(sys.argv[1]) / n).write_text(p()) for n, p in m.PAGES.items()]"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, env=environment, check=True, timeout=60)
    for page in tmp_path.iterdir():
        assert page.read_text() == (ROOT / "docs" / "reference" / page.name).read_text(), (
            "run: python docs/make_reference.py"
        )


def test_every_link_leads_somewhere():
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_test_that_the_security_review_names_exists():
    """`file::test`, and after it `::test` of the same file."""
    file, missing = "", []
    for named, test in re.findall(
        r"`([\w/]+\.py)?::(\w+)`", (ROOT / "docs/explanation/security-review.md").read_text()
    ):
        file = named or file
        source = (Path(__file__).parent / file).read_text() if (Path(__file__).parent / file).is_file() else ""
        if f"def {test}(" not in source:
            missing.append(f"{file}::{test}")
    assert file
    assert missing == []
