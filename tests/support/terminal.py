"""dn_dist top on a terminal: drawn, drawn anew, resized, left by Ctrl-C, and ended by the run's end.

    terminal.py DN_DIST     in a folder with a run `run` of 400 steps at step 10
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time


class Terminal:
    """What a terminal shows of a program's output, by the few sequences that top uses."""

    def __init__(self, columns, rows):
        self.master, self.slave = pty.openpty()
        self.resize(columns, rows)
        self.text, self.lines, self.row, self.column = "", {}, 0, 0
        self.program = subprocess.Popen(
            [sys.argv[1], "top", "run"], stdin=self.slave, stdout=self.slave, stderr=self.slave,
            env=dict(os.environ, TERM="xterm", LC_ALL="C"), start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def feed(self, text):
        """Draws all anew: what is read may end within a sequence."""
        self.text += text
        self.lines, self.row, self.column = {}, 0, 0
        for part in re.findall(r"\x1b\[\??\d*[a-zA-Z]|\r\n|[^\x1b\r]+", self.text):
            if part == "\x1b[H":
                self.row = self.column = 0
            elif part == "\r\n":
                self.row, self.column = self.row + 1, 0
            elif part == "\x1b[K":
                self.lines[self.row] = self.lines.get(self.row, "")[: self.column]
            elif part == "\x1b[J":
                self.lines = {r: l for r, l in self.lines.items() if r <= self.row}
            elif part[0] != "\x1b":
                line = self.lines.get(self.row, "").ljust(self.column)
                self.lines[self.row] = line[: self.column] + part + line[self.column + len(part):]
                self.column += len(part)

    def until(self, what, holds):
        end = time.time() + 300
        while time.time() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                self.feed(os.read(self.master, 65536).decode())
            elif holds():
                return
        sys.exit(f"{what}: found\n" + "\n".join(self.lines.values()) + "\n" + repr(self.text[-300:]))

    def screen(self):
        return "\n".join(self.lines.get(r, "") for r in range(max(self.lines, default=0) + 1))

    def ends(self, what):
        self.until(what, lambda: self.program.poll() is not None)
        assert self.program.returncode == 0, (what, self.program.returncode)
        left = self.text.rindex("\x1b[?25h\x1b[?7h\x1b[?1049l")
        assert self.text.count("\x1b[?1049h") == self.text.count("\x1b[?1049l"), what
        return self.text[left:]


def append(step, kind="interval"):
    with open("run/metrics.jsonl", "a") as file:
        file.write(f'{{"kind": "{kind}", "epoch": 1, "step": {step}, "loss": 2.0, "top1": 30, '
                   '"images_per_s": 400, "seconds": 10, "reason": "the last step"}\n')


terminal = Terminal(100, 24)
terminal.until("the first screen", lambda: "step 10/400 400 images/s" in terminal.screen())
assert terminal.text.startswith("\x1b[?1049h") and len(terminal.lines) <= 24, terminal.lines
append(20)
terminal.until("a new record", lambda: "step 20/400" in terminal.screen())
terminal.resize(24, 10)
terminal.until("a narrow screen", lambda: "400 images/s 0:08 left" in terminal.screen().split("\n")
               and len(terminal.lines) <= 10 and max(map(len, terminal.lines.values())) <= 24)
terminal.resize(90, 5)
terminal.until("a low screen", lambda: "step 20/400" in terminal.screen() and len(terminal.lines) == 5)
os.write(terminal.master, b"\x1a")  # Ctrl-Z
terminal.until("stopped", lambda: terminal.text.endswith("\x1b[?1049l")
               and os.waitid(os.P_PID, terminal.program.pid, os.WSTOPPED | os.WNOHANG))
os.kill(terminal.program.pid, signal.SIGCONT)
terminal.until("continuing", lambda: terminal.text.count("\x1b[?1049h") == 2)
os.write(terminal.master, b"\x03")  # Ctrl-C
assert "step 20/400" in terminal.ends("Ctrl-C")

terminal = Terminal(80, 24)
terminal.until("the second", lambda: "step 20/400" in terminal.screen())
append(400)
append(400, "end")
assert "finished" in terminal.ends("the run's end")
