"""A project whose workflows run on the simulator, and whose runs are looked at afterwards."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

from claude_force.cli import main
from claude_force.project.locations import home
from claude_force.secret import user_secret
from claude_force.simulator import Behaviour, Simulator
from claude_force.stores.seal import sealed
from claude_force.stores.transcript import read

KEY = "sk-ant-secret-of-the-test"


def write(project, name, content):
    """Put `content`, a text or what becomes JSON, into a file of the project and return its path."""
    path = project / ".claude" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


class Place:
    """The project, the far end, and the command line in this process."""

    def __init__(self, project, simulator, capsys):
        self.project, self.simulator, self._capsys = project, simulator, capsys
        self.agent("echo", "You echo.")

    def write(self, name, content):
        return write(self.project, name, content)

    def agent(self, name, prompt, model="haiku"):
        self.write(f"agents/{name}.md", f"---\nname: {name}\ndescription: d\nmodel: {model}\n---\n{prompt}\n")

    def skill(self, name, body):
        self.write(f"skills/{name}/SKILL.md", f"---\nname: {name}\ndescription: d\n---\n{body}\n")

    def workflow(self, *steps, name="w", **others):
        data = {"steps": [{"agent": "echo", **step} for step in steps], **others}
        self.write(f"workflows/{name}.json", json.dumps(data))

    def call(self, *words):
        """Return exit status, stdout and stderr."""
        status = main(words)
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def data(self, *words):
        return json.loads(self.call("--json", *words)[1])

    def run(self, *words):
        """Run the workflow `w`, or whatever `words` say, without the cache; return the steps' statuses."""
        found = self.data("run", "workflow", *(words or ("w",)), "--no-cache")
        return {step: result["status"] for step, result in found["results"].items()}

    def resume(self, *words):
        return self.run("--resume", "last", *words)

    def asked(self):
        """Return how many requests were sent since this was asked last."""
        count, self._asked = len(self.simulator.requests) - getattr(self, "_asked", 0), len(self.simulator.requests)
        return count

    @property
    def ids(self):
        directory = self.project / ".claude" / "runs"
        return sorted(os.listdir(directory)) if directory.is_dir() else []

    @property
    def directory(self):
        """That of the last run."""
        return self.project / ".claude" / "runs" / self.ids[-1]

    @property
    def journal(self):
        return self.directory / "journal.jsonl"

    @property
    def transcript(self):
        return read(self.journal, secret)

    def append(self, *entries):
        """Add lines to the last run's journal as the user's own program would."""
        with self.journal.open("ab") as stream:
            stream.writelines(own_line(entry, self.directory.name) + b"\n" for entry in entries)


@contextmanager
def place(project, capsys, monkeypatch):
    with Simulator(Behaviour()) as simulator:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("CLAUDE_FORCE_RETRIES", "0")
        yield Place(project, simulator, capsys)


def secret():
    """Return the secret of the test's user."""
    return user_secret(home(os.environ))


def own_line(entry, run_id):
    """Return the line of a journal that tells `entry`, sealed by the test's user."""
    return sealed(json.dumps(entry), run_id, secret())


def reply(text):
    return f"[[simulate: reply=<<{text}>>]]"


def start(*words):
    """Start the command line as a process of its own."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "claude_force", *words], env=os.environ, text=True, stdout=pipe, stderr=pipe
    )
