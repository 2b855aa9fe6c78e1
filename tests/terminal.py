"""A terminal for tests: a real pseudo-terminal, and what a person would see on it."""

import fcntl
import os
import re
import struct
import termios
import threading
from unicodedata import east_asian_width

_PIECE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n])")


class Terminal:
    """A pseudo-terminal of a given size; `stream` writes to it, and what arrives is kept."""

    def __init__(self, columns=80, lines=24):
        self.columns, self.lines = columns, lines
        self.end, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.stream = open(slave, "w", encoding="utf-8")  # noqa: SIM115 - closed by `close`
        self.data = b""
        self.arrived = threading.Condition()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if not self.stream.closed:
            self.stream.close()
            self.reader.join(timeout=20)
            os.close(self.end)

    def _read(self):
        while True:
            try:
                chunk = os.read(self.end, 65536)
            except OSError:  # Linux's way of saying that nobody can write any more
                return
            with self.arrived:
                self.data += chunk
                self.arrived.notify_all()

    @property
    def raw(self):
        with self.arrived:
            return self.data.decode(errors="ignore")

    def wait(self, seen):
        """Return all lines once `seen(lines)` is true of them; raises AssertionError after 20 seconds."""
        with self.arrived:
            met = self.arrived.wait_for(lambda: seen(self._rendered()), timeout=20)
        assert met, "\n".join(self._rendered())
        return self._rendered()

    def _rendered(self):
        return render(self.data.decode(errors="ignore"), self.columns, self.lines)


def render(text, columns, lines):
    """Return the lines that `text` leaves, scrolled-off ones first, without the empty ones at the end.

    Knows the sequences that the package uses: F (up), J and K (erase), m (colour).
    """
    gone, rows, row, column = [], [""], 0, 0
    for number, command, start, feed, character in _PIECE.findall(text):
        if command == "F":
            row, column = max(row - int(number or 1), 0), 0
        elif command == "J":
            rows = [*rows[:row], rows[row][:column]]
        elif command == "K":
            rows[row] = rows[row][:column]
        elif command:
            assert command == "m", command
        elif start:
            column = 0
        else:
            width = (2 if east_asian_width(character) in "WF" else 1) if character else 0
            if feed or column + width > columns:
                row, column = row + 1, 0 if character else column
                rows += [""] * (row + 1 - len(rows))
                if row == lines:
                    gone.append(rows.pop(0))
                    row -= 1
            if character:
                before = rows[row][:column].ljust(column)
                rows[row] = f"{before}{character}{rows[row][column + len(character) :]}"
                column += width
    while rows and not rows[-1].strip():
        rows.pop()
    return [line.rstrip() for line in gone + rows]
