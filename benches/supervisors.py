#!/usr/bin/env python3
"""Compares minisup, the example, with the supervisors of Debian's packages s6, runit and supervisor.

    supervisors.py MINISUP [ROUNDS]

Each runs the same 50 programs, in turns, so many rounds (5). The table has the medians of:
  restart   from the SIGKILL of a program, which has run for seconds, to the first word of the next one; no backoff
  memory    PSS and RSS of all processes of the supervisor, in KiB; without the programs
  wake-ups  context switches of all its threads in 10 s in which nothing happens
  stop      from the request to the end of the last of 50 programs that ignore SIGTERM, with 2 s of grace
"""
import os
import platform
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAMS = 50
KILLS = 20
REST = 10
GRACE = 2


class Supervisor:
    """One of them, with its configuration and what stops it, in a directory of its own."""

    def __init__(self, directory, program):
        self.directory, self.program = directory, program
        self.command = self.configure()

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def names(self):
        return [f'p{number}' for number in range(PROGRAMS)]

    def services(self, more, first=''):
        for name in self.names():
            self.write(f'services/{name}/run', f'#!/bin/sh\n{first}exec {self.program}\n', 0o755)
            for file, text in more.items():
                self.write(f'services/{name}/{file}', text)
        return os.path.join(self.directory, 'services')

    def stop(self, process):
        process.send_signal(signal.SIGTERM)

    def clean(self, process):
        """What is left to do when all programs have ended."""


class Minisup(Supervisor):
    path = None

    def configure(self):
        section = '[{}]\ncommand = ["{}"]\nbackoff = 0\nstop = {{ time = {} }}\n'
        text = ''.join(section.format(name, self.program, GRACE) for name in self.names())
        os.environ['MINISUP_DIR'] = self.directory
        return [self.path, self.write('box.toml', text)]


class S6(Supervisor):
    def configure(self):
        # It holds back for a second a program that has never said that it is ready.
        more = {'timeout-kill': str(GRACE * 1000), 'notification-fd': '3'}
        return ['s6-svscan', self.services(more, 'echo >&3\nexec 3>&-\n')]


class Runit(Supervisor):
    def configure(self):
        return ['runsvdir', self.services({})]

    def stop(self, process):
        services = os.path.join(self.directory, 'services')
        command = ['sv', '-w', str(GRACE), 'force-stop']
        self.sv = subprocess.Popen(command + [f'{services}/{name}' for name in self.names()],
                                   stdout=subprocess.DEVNULL)

    def clean(self, process):
        self.sv.wait()
        process.send_signal(signal.SIGHUP)


class Supervisord(Supervisor):
    def configure(self):
        text = f'[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n'
        text += f'pidfile={self.directory}/pid\nuser=root\n'
        for name in self.names():
            text += f'[program:{name}]\ncommand={self.program}\nautorestart=true\nstartsecs=0\n'
            text += f'stopwaitsecs={GRACE}\nstdout_logfile=NONE\nstderr_logfile=NONE\n'
        # Without a group, it stops one after the other.
        text += f'[group:all]\nprograms={",".join(self.names())}\n'
        return ['supervisord', '-c', self.write('supervisord.conf', text)]


def descendants(pid):
    """The processes of a supervisor: itself, and its children but for the programs."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        try:
            with open(f'/proc/{pid}/comm') as file:
                if file.read().strip() == 'sleep':
                    continue
            found.append(pid)
            for thread in os.listdir(f'/proc/{pid}/task'):
                with open(f'/proc/{pid}/task/{thread}/children') as file:
                    todo += map(int, file.read().split())
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def memory(pids):
    sums = {'Pss:': 0, 'Rss:': 0}
    for pid in pids:
        with open(f'/proc/{pid}/smaps_rollup') as file:
            for line in file:
                words = line.split()
                if words[0] in sums:
                    sums[words[0]] += int(words[1])
    return sums['Pss:'], sums['Rss:']


def switches(pids):
    total = 0
    for pid in pids:
        for thread in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{thread}/status') as file:
                total += sum(int(line.split()[1]) for line in file if 'ctxt_switches' in line)
    return total


class Words:
    """What the programs write when they begin: their numbers, into a pipe with a name."""

    def __init__(self, path):
        os.mkfifo(path)
        self.fd, self.rest = os.open(path, os.O_RDWR | os.O_NONBLOCK), b''

    def next(self):
        while b'\n' not in self.rest:
            if not select.select([self.fd], [], [], 60)[0]:
                sys.exit('no program begins')
            self.rest += os.read(self.fd, 4096)
        line, self.rest = self.rest.split(b'\n', 1)
        return int(line)


def started(kind, script):
    directory = tempfile.mkdtemp(prefix='supervisors-')
    words = Words(os.path.join(directory, 'begun'))
    program = os.path.join(directory, 'program')
    with open(program, 'w') as file:
        file.write(script.format(directory=directory))
    os.chmod(program, 0o755)
    supervisor = kind(directory, program)
    process = subprocess.Popen(supervisor.command, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, cwd=directory)
    return supervisor, process, words, [words.next() for _ in range(PROGRAMS)]


def ended(supervisor, process, pids):
    """Asks all to stop, and returns how long that takes."""
    programs = [os.pidfd_open(pid) for pid in pids]
    own = [os.pidfd_open(pid) for pid in descendants(process.pid)]
    begun = time.perf_counter()
    supervisor.stop(process)
    wait_for(programs)
    took = time.perf_counter() - begun
    supervisor.clean(process)
    process.wait(60)
    wait_for(own)
    shutil.rmtree(supervisor.directory)
    return took


def wait_for(pidfds):
    for fd in pidfds:
        if not select.select([fd], [], [], 60)[0]:
            sys.exit('a process does not end')
        os.close(fd)


def measure(kind):
    obedient = '#!/bin/sh\necho $$ >{directory}/begun\nexec sleep 100000\n'
    supervisor, process, words, pids = started(kind, obedient)
    time.sleep(3)  # s6 and runit wait if a program ends within a second
    restarts = []
    for turn in range(KILLS):
        begun = time.perf_counter()
        os.kill(pids[turn], signal.SIGKILL)
        pids[turn] = words.next()
        restarts.append(time.perf_counter() - begun)
        time.sleep(0.1)
    time.sleep(3)
    own = descendants(process.pid)
    pss, rss = memory(own)
    before = switches(own)
    time.sleep(REST)
    woken = switches(own) - before
    ended(supervisor, process, pids)

    deaf = "#!/bin/sh\ntrap '' TERM\necho $$ >{directory}/begun\nexec sleep 100000\n"
    supervisor, process, words, pids = started(kind, deaf)
    time.sleep(3)
    stop = ended(supervisor, process, pids)
    return statistics.median(restarts) * 1000, max(restarts) * 1000, pss, rss, woken, stop


def main():
    if len(sys.argv) not in (2, 3) or os.getuid() != 0:
        sys.exit(__doc__ + '\nIt needs root, for the memory of others.')
    Minisup.path = os.path.abspath(sys.argv[1])
    kinds = [Minisup, S6, Runit, Supervisord]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    results = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind in kinds:
            results[kind].append(measure(kind))
            print(number + 1, kind.__name__.lower(), *(f'{it:.3f}' for it in results[kind][-1]), flush=True)
    with open('/proc/cpuinfo') as file:
        model = next((line.split(':')[1].strip() for line in file if 'model name' in line), '?')
    print(f'\n{model}, {os.cpu_count()} processors, Linux {platform.release()}; medians of {rounds} rounds\n')
    print('| | restart, ms | worst, ms | PSS, KiB | RSS, KiB | wake-ups in 10 s | stop, s |')
    print('|---|---|---|---|---|---|---|')
    for kind in kinds:
        median = [statistics.median(column) for column in zip(*results[kind])]
        cells = ' | '.join(text.format(it) for text, it in zip(
            ['{:.2f}', '{:.2f}', '{:.0f}', '{:.0f}', '{:.0f}', '{:.3f}'], median))
        print(f'| {kind.__name__.lower()} | {cells} |')


main()
