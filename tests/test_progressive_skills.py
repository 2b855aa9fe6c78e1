"""Which skills a task needs: what is always loaded, what is loaded by relevance, and what that saves."""

import json
from pathlib import Path

import pytest

from claude_force.api.choosing import ProgressiveSkillsManager
from claude_force.library.lookup import bundled_shelf, list_agents, list_skills
from claude_force.models import estimate_tokens
from claude_force.records import Skill
from claude_force.selection.skills import catalogue, needed, saving

DATA = Path(__file__).parent / "data" / "labelled_tasks.jsonl"
SHIPPED = list_skills([bundled_shelf()])


def names(needs):
    return [need.skill.name for need in needs]


def tokens(text):
    return estimate_tokens(text, "claude-sonnet-5")


@pytest.mark.parametrize(("named", "least"), [(True, 0.95), (False, 0.92)], ids=["agent's own too", "relevance alone"])
@pytest.mark.parametrize("which", ["tuned", "held"])
def test_nearly_all_needed_skills_are_loaded_for_less_than_half_of_the_tokens(which, named, least):
    bound = {agent.name: agent.skills if named else () for agent in list_agents([bundled_shelf()])}
    tasks = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    tasks = [task for task in tasks if task["set"] == which and task["agents"]]
    wanted = found = 0
    saved = []
    for task in tasks:
        needs = needed(task["task"], SHIPPED, always=bound[task["agents"][0]])
        wanted += len(task["skills"])
        found += len(set(task["skills"]).intersection(names(needs)))
        saved.append(saving(SHIPPED, [need.skill for need in needs], tokens)["saved"])
    assert found / wanted >= least
    assert sum(saved) / len(saved) >= 0.5


def test_what_is_named_comes_first_in_its_order_whatever_the_task():
    found = needed("boil an egg", SHIPPED, always=["sql", "git", "sql"])
    assert names(found) == ["sql", "git"]
    assert {need.reason for need in found} == {"named explicitly"}


def test_what_fits_follows_by_name_with_a_reason():
    found = needed("my bash script and its Dockerfile fail in cron", SHIPPED, always=["sql"])
    assert names(found)[0] == "sql"
    assert {"docker", "shell"} <= set(names(found)[1:])
    assert names(found)[1:] == sorted(names(found)[1:])
    assert all("'" in need.reason for need in found[1:])


def test_a_task_that_uses_the_name_of_a_skill_needs_it_however_much_else_it_says():
    known = [Skill("bread", "Flour.", "Knead."), *(Skill(f"s{n}", "All about bread.", "Eat.") for n in range(9))]
    assert "bread" in names(needed(f"bread {' '.join(f'word{n}' for n in range(50))}", known))
    assert "s1" not in names(needed("bread", known))


def test_a_skill_that_is_named_is_not_loaded_twice():
    assert names(needed("a bash script with sh quoting", SHIPPED, always=["shell"])).count("shell") == 1


def test_the_order_of_the_library_changes_nothing():
    task = "an SQL migration, its tests and a rollback"
    assert names(needed(task, SHIPPED)) == names(needed(task, SHIPPED[::-1]))
    assert catalogue(SHIPPED) == catalogue(SHIPPED[::-1])


def test_a_task_that_needs_no_skill_loads_none():
    assert needed("boil an egg", SHIPPED) == []
    assert needed("anything", []) == []


def test_the_catalogue_has_a_short_line_for_each_skill():
    lines = catalogue(SHIPPED).splitlines()
    assert [line.split(":")[0] for line in lines] == [f"- {name}" for name in sorted(s.name for s in SHIPPED)]
    assert max(map(len, lines)) < 140


def test_a_long_or_many_lined_description_is_one_short_line():
    said = catalogue([Skill("one", "Very\n" + "long " * 60, "body"), Skill("two", "Short. Use it always.", "body")])
    one, two = said.splitlines()
    assert one.endswith(" …")
    assert two == "- two: Short"


def test_a_saving_counts_the_catalogue_too():
    skills = [Skill("one", "First.", "x" * 1000), Skill("two", "Second.", "y" * 3000)]
    none, both = saving(skills, [], len), saving(skills, skills, len)
    assert none == {"all_tokens": 4000, "sent_tokens": len(catalogue(skills)), "saved": pytest.approx(0.99, abs=0.01)}
    assert both["saved"] < 0
    assert saving([], [], len)["saved"] == 0.0


def test_the_manager_reads_the_project_and_its_settings(project):
    skill = project / ".claude" / "skills" / "bread"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: bread\ndescription: Sourdough.\n---\nKnead.\n", encoding="utf-8")
    (project / ".claude" / "claude.json").write_text('{"skills": {"preload": ["git"]}}', encoding="utf-8")
    manager = ProgressiveSkillsManager()
    assert names(manager.needed("a sourdough starter", always=["sql"])) == ["git", "sql", "bread"]
    assert [skill.body for skill in manager.load("a sourdough starter") if skill.name == "bread"] == ["Knead."]
    assert "- bread: Sourdough" in manager.catalogue()
    assert manager.saving("a sourdough starter")["saved"] > 0.5


def test_the_manager_works_for_a_directory_that_is_named(project, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / ".claude" / "skills" / "tea").mkdir(parents=True)
    (elsewhere / ".claude" / "skills" / "tea" / "SKILL.md").write_text("---\ndescription: Brewing.\n---\nPour.\n")
    assert names(ProgressiveSkillsManager(elsewhere).needed("brewing tea"))[-1:] == ["tea"]
