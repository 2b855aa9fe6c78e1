"""The agents, skills and workflows that ship with the package: well-formed, of one mind, and able to run."""

import json
import re
import shlex
import subprocess
import sys
from itertools import combinations

import pytest
import yaml

from claude_force import models
from claude_force.cli import main
from claude_force.library import lookup, markdown
from claude_force.models import estimate_tokens
from claude_force.records import EFFORTS
from claude_force.workflow import dag
from claude_force.workflow.definition import parse

SHELF = lookup.bundled_shelf()
AGENTS = sorted(SHELF.agents.glob("*.md"))
SKILLS = sorted(SHELF.skills.glob("*/SKILL.md"))
WORKFLOWS = sorted(SHELF.workflows.iterdir())

EXPECTED_AGENTS = """
accessibility-expert api-designer api-documenter backend-architect bug-investigator cloud-expert code-reviewer
data-engineer database-architect dependency-auditor devops-architect document-writer frontend-architect
frontend-developer incident-responder linter ml-engineer performance-engineer planner prompt-engineer python-expert
refactoring-expert release-manager security-scanner summarizer tester type-checker
"""
EXPECTED_SKILLS = """
accessibility api-design code-review data-quality docker documentation git incident json-output performance
prompt-writing python release security-checklist shell sql testing
"""
EXPECTED_WORKFLOWS = """
api-design-review bug-investigation code-quality-check data-pipeline-review dependency-update documentation-suite
full-stack-feature incident-postmortem refactoring-plan release-notes security-audit
"""

SAMPLE = {
    "README.md": "# Shop\n",
    "pyproject.toml": '[project]\nname = "shop"\n',
    "audit.json": "{}\n",
    "api/openapi.yaml": "openapi: 3.1.0\n",
    "shop/orders.py": "def total(orders):\n    return sum(orders[1:])\n",
    "src/shop/stock.py": "def take(n):\n    return n\n",
    "tests/test_orders.py": "def test_nothing():\n    pass\n",
    "dags/load.py": "INTERVAL = 'day'\n",
    "models/daily/revenue.sql": "SELECT 1;\n",
    "var/shop.log": "13:52 ERROR pool exhausted\n",
    "incident/notes.md": "13:55 deploy 412\n",
    "incident/deploy.diff": "--- a/shop/orders.py\n+++ b/shop/orders.py\n@@ -1 +1 @@\n-retries = 3\n+retries = 0\n",
    "incident/chat.txt": "14:02 who is on call?\n",
    "incident/database.log": "13:52 too many connections\n",
}


def by_name(path):
    return path.parent.name if path.name == "SKILL.md" else path.stem


def front_matter(path):
    """What strict YAML reads in a file's front matter."""
    return yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])


def body(path):
    return markdown.parse(path.read_text(encoding="utf-8")).body


def workflow(path):
    data = lookup.read_workflow(path, "bundled").data
    return parse(path.stem, data, source="bundled", path=path, read_schema=str)


def example_of(path):
    return re.search(r"(?m)^# example: (.+)$", path.read_text(encoding="utf-8"))[1]


@pytest.fixture
def sample(project):
    """A project that has something for every workflow to look at."""
    for name, text in SAMPLE.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return project


def test_what_is_promised_is_there():
    assert {path.stem for path in AGENTS} >= set(EXPECTED_AGENTS.split())
    assert {by_name(path) for path in SKILLS} >= set(EXPECTED_SKILLS.split())
    assert {path.stem for path in WORKFLOWS} >= set(EXPECTED_WORKFLOWS.split())


def test_the_strict_check_finds_nothing(project, capsys):
    assert main(["validate", "--strict", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert found["checked"] == {
        "agents": len(AGENTS),
        "skills": len(SKILLS),
        "workflows": len(WORKFLOWS),
        "settings": 0,
    }


@pytest.mark.parametrize("path", AGENTS + SKILLS, ids=by_name)
def test_the_front_matter_means_the_same_to_strict_yaml(path):
    fields = front_matter(path)
    assert {name: str(value) for name, value in fields.items()} == markdown.parse(
        path.read_text(encoding="utf-8")
    ).fields
    assert fields["name"] == by_name(path)


@pytest.mark.parametrize("path", AGENTS, ids=by_name)
def test_an_agent_says_when_to_use_it_and_which_other_one_instead(path):
    description = front_matter(path)["description"]
    assert len(description) <= 500
    assert description.startswith("Use ")
    others = re.findall(r"\(([^)]+)\)", description.partition("Not for ")[2])
    named = {name for group in others for name in group.split(", ")}
    assert named
    assert named <= {agent.stem for agent in AGENTS} - {path.stem}


@pytest.mark.parametrize("path", AGENTS, ids=by_name)
def test_an_agent_names_a_current_model_and_an_effort_that_it_takes(path):
    fields = front_matter(path)
    model, warning = models.find(fields["model"])
    assert warning is None
    assert fields["effort"] in set(EFFORTS) & set(model.efforts)
    assert set(fields) <= set(lookup.AGENT_FIELDS)


@pytest.mark.parametrize("path", AGENTS, ids=by_name)
def test_an_agents_prompt_has_a_job_a_shape_and_an_example_in_300_to_900_words(path):
    text = body(path)
    assert 300 <= len(text.split()) <= 900
    assert text.startswith("You ")
    headings = re.findall(r"(?m)^## (.+)$", re.sub(r"(?ms)^(```|~~~)\w*\n.*?^\1$", "", text))
    assert headings[-2:] == ["Answer", "Example"] or headings[-3:-1] == ["Verdict", "Answer"]
    assert "```" in text.partition("## Example")[2]


@pytest.mark.parametrize("path", SKILLS, ids=by_name)
def test_a_skill_fits_into_a_prompt(path):
    assert estimate_tokens(body(path), "sonnet") < 5_000
    assert re.search(r"Use it (when|during) ", front_matter(path)["description"])


def passages(path, length=12):
    """Every run of `length` words outside examples, which have to repeat a report's fixed lines."""
    words = re.findall(r"[^\W_]+", re.sub(r"(?ms)^(```|~~~).*?^\1$", " ", body(path)).lower())
    return {" ".join(words[at : at + length]) for at in range(len(words) - length + 1)}


def test_nothing_is_said_twice():
    said = {path: passages(path) for path in AGENTS + SKILLS}
    assert all(said.values())
    twice = [(by_name(a), by_name(b), said[a] & said[b]) for a, b in combinations(said, 2) if said[a] & said[b]]
    assert twice == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=by_name)
def test_a_workflow_explains_itself_and_needs_no_input(path):
    found = workflow(path)
    assert len(found.description) > 40
    assert all(given.default is not None and given.description for given in found.inputs)
    assert f"claude-force run workflow {path.stem} " in example_of(path)


@pytest.mark.parametrize("path", WORKFLOWS, ids=by_name)
def test_a_workflow_does_side_by_side_what_is_independent(path):
    found = workflow(path)
    assert max(dag.remaining(found).values()) < len(found.steps)


@pytest.mark.parametrize("path", WORKFLOWS, ids=by_name)
def test_a_workflow_runs_as_it_stands(path, sample, simulator, capsys):
    status = main(["run", "workflow", path.stem, "What happened on Tuesday", "--json", "-q"])
    run = json.loads(capsys.readouterr().out)
    planned = len(workflow(path).steps)
    assert (status, run["success"]) == (0, True), run["error"]
    assert run["census"] == {"planned": planned, "ok": planned, "cached": 0, "failed": 0, "skipped": 0}
    assert any("on Tuesday" in json.dumps(request.body) for request in simulator.requests)


@pytest.mark.parametrize("path", WORKFLOWS, ids=by_name)
def test_a_workflows_example_works(path, sample, simulator):
    words = shlex.split(example_of(path).rpartition("| ")[2])
    assert words.pop(0) == "claude-force"
    ended = subprocess.run(
        [sys.executable, "-m", "claude_force", *words, "--dry-run"],
        input="a1 Add --json\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "no file fits" not in ended.stderr
    for step in workflow(path).steps:
        assert step.id in ended.stdout


def test_the_files_of_a_workflow_reach_the_steps_that_ask_for_them(sample, simulator):
    assert main(["run", "workflow", "security-audit", "-q"]) == 0
    sent = [json.dumps(request.body) for request in simulator.requests]
    assert all("orders.py" in text for text in sent)
    assert sum("[project]" in text for text in sent) == 1
    assert sum("openapi: 3.1.0" in text for text in sent) == 1


def test_an_audit_without_a_manifest_is_warned_of(sample, simulator, capsys):
    words = ["run", "workflow", "dependency-update", "--dry-run"]
    assert main(words) == 0
    assert "no file fits" not in capsys.readouterr().err
    (sample / "pyproject.toml").unlink()
    assert main(words) == 0
    err = capsys.readouterr().err
    assert "step 'audit': no file fits **/pyproject.toml; name others by --input manifests=GLOB" in err


def test_each_log_of_an_incident_has_a_timeline_of_its_own(sample, simulator, capsys):
    assert main(["run", "workflow", "incident-postmortem", "notes", "--input", "logs=incident/*", "-q", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert [text in run["results"]["logs"]["output"] for text in ("chat.txt", "database.log", "notes.md")] == [True] * 3
    assert "output of logs" in json.dumps([request.body for request in simulator.requests])
