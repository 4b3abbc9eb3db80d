"""The files of the embedded server: its folder, its settings, and a cluster made in one piece.

A cluster is made under another name, with its roles and its database, and renamed when it is
whole; what an interrupted attempt left behind is thrown away. The bootstrap superuser never gets a
password and no rule lets it log in: roles and database are made before any server listens.
"""

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import orjson

from relevo.errors import StoreSetupError
from relevo.store.server_account import Account

APP_ROLE = "relevo"
OWNER_ROLE = "relevo_owner"
DATABASE = "relevo"

_SUPERUSER = "postgres"
_TELLING_WORDS = ("FATAL:", "PANIC:", "error:", "denied")
_SAID_CHARS_MAX = 600
_LOG_BYTES_MAX = 20_000

# The values are for two cores shared with Relevo itself. wal_compression stays off: this build
# has only pglz, which costs more processor than the disk it saves. Errors of statements are told
# to the client and not logged, for they can quote what a customer wrote. Statistics
# come within seconds: until a new database has them, each row costs a walk of its whole business.
_SETTINGS = """\
# Written anew by Relevo at every start. First what initdb found out about this machine, then ours.
include_if_exists = 'cluster/postgresql.conf'
hba_file = {rules}
listen_addresses = {addresses}
port = {port}
unix_socket_directories = {sockets}
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = '128MB'
max_wal_size = '1GB'
wal_compression = off
jit = off
fsync = on
synchronous_commit = on
full_page_writes = on
autovacuum_naptime = '5s'
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = on
log_directory = {log}
log_filename = 'postgres-%a.log'
log_truncate_on_rotation = on
log_rotation_age = '1d'
log_rotation_size = 0
log_checkpoints = off
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
"""

_RULES = """\
# Written anew by Relevo at every start: a password always, and never the superuser.
local all {superuser} reject
host all {superuser} all reject
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server listens: a socket folder, or an address of loopback."""

    host: str
    port: int

    @property
    def is_socket(self) -> bool:
        """Whether `host` is a folder."""
        return self.host.startswith("/")


@dataclass(frozen=True, slots=True)
class Home:
    """The names of everything below `data_dir/postgres`. Nothing else is ever written."""

    folder: Path

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own files; whole, or absent."""
        return self.folder / "cluster"

    @property
    def unfinished(self) -> Path:
        """A cluster that is being made."""
        return self.folder / "cluster.new"

    @property
    def socket(self) -> Path:
        """The folder of the socket."""
        return self.folder / "socket"

    @property
    def log(self) -> Path:
        """A week of logs, a file a weekday, and that of the last start."""
        return self.folder / "log"

    @property
    def settings(self) -> Path:
        """The settings the server is started with."""
        return self.folder / "postgresql.conf"

    @property
    def rules(self) -> Path:
        """Who may log in, and how."""
        return self.folder / "pg_hba.conf"

    @property
    def passwords(self) -> Path:
        """The passwords of the two roles, for Relevo's user only."""
        return self.folder / "passwords.json"

    @property
    def port(self) -> Path:
        """The port of loopback, once one was needed."""
        return self.folder / "port"

    def lock(self, name: str) -> Path:
        """Name a lock file."""
        return self.folder / f"{name}.lock"


def prepare_home(data_dir: Path) -> Home:
    """Make the folder if it is missing; folders that exist keep their mode."""
    data_dir.mkdir(parents=True, exist_ok=True)
    home = Home(data_dir.resolve() / "postgres")
    _make_folder(home.folder, 0o711 if os.geteuid() == 0 else 0o700)
    return home


def refuse_missing(home: Home, *, make: bool) -> None:
    """Refuse to go on without a cluster, unless there never was one and it is to be made.

    Passwords without their cluster mean that it is elsewhere: a disk that is not mounted, a folder
    that was moved. A new one in its place would lock the old one out for ever.
    """
    if home.cluster.exists():
        return
    if not home.passwords.exists():
        if make:
            return
        raise StoreSetupError(
            f"there is no database under {home.folder.parent}; start Relevo there first, or set "
            "database.data_dir or database.url"
        )
    if not home.unfinished.exists():
        raise StoreSetupError(
            f"database.data_dir: {home.cluster} is missing but its passwords are here; bring the "
            f"folder back, or remove {home.passwords.name} to begin anew"
        )


async def ensure_cluster(home: Home, account: Account, binaries: Path, held: int) -> None:
    """Make the cluster if it is missing, and check that these programs can serve it.

    `held` is the descriptor of the lock that keeps others away; the programs inherit it, so a
    second Relevo waits for them even when the first was killed. Raises `StoreSetupError`.
    """
    if home.passwords.exists() and home.unfinished.exists() and not home.cluster.exists():
        # Whole, for the passwords are written last: only its name was still to be given.
        home.unfinished.rename(home.cluster)
        _keep_names(home.folder)
    if not home.cluster.exists():
        await _make_cluster(home, account, binaries, held)
    for folder in (home.socket, home.log):
        _make_folder(folder, 0o700)
        account.own(folder)
    await _check_version(home, account, binaries)


def write_settings(home: Home, place: Place) -> None:
    """Write the settings and the log-in rules of the next start."""
    addresses, sockets = ("", place.host) if place.is_socket else (place.host, "")
    settings = _SETTINGS.format(
        rules=_quoted(home.rules),
        addresses=_quoted(addresses),
        sockets=_quoted(sockets),
        port=place.port,
        log=_quoted(home.log),
    )
    _write(home.rules, _RULES.format(superuser=_SUPERUSER).encode(), 0o644)
    _write(home.settings, settings.encode(), 0o644)


def write_port(home: Home, port: int) -> None:
    """Keep the port, so that a restarted server is found where it was."""
    _write(home.port, str(port).encode(), 0o644)


def read_passwords(home: Home) -> dict[str, str]:
    """Return the password of each role. Raises `StoreSetupError` when they are lost."""
    try:
        passwords: dict[str, str] = orjson.loads(home.passwords.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError) as error:
        raise StoreSetupError(
            f"{home.passwords} is missing or broken, so nobody can log in to {home.cluster}: "
            "bring it back from a backup, or choose another database.data_dir."
        ) from error
    return passwords


def failure(program: str, output: str) -> StoreSetupError:
    """Say in a sentence why a program of PostgreSQL failed, from what it printed."""
    if "No space left on device" in output:
        return StoreSetupError(f"{program} failed: the disk is full. Make room and start again.")
    telling = [line for line in output.splitlines() if any(word in line for word in _TELLING_WORDS)]
    said = " ".join((telling[-1] if telling else output[-_SAID_CHARS_MAX:]).split())
    return StoreSetupError(f"{program} failed: {said or 'it said nothing'}")


def startup_failure(home: Home) -> StoreSetupError:
    """Say why the server ended while it was starting, from its logs."""
    said = (home.log / "start.log").read_text(errors="replace")
    if "redirecting log output" in said:
        logs = home.log.glob("postgres-*.log")
        newest = max(logs, key=lambda path: path.stat().st_mtime_ns)
        said = newest.read_bytes()[-_LOG_BYTES_MAX:].decode(errors="replace")
    return failure("The embedded PostgreSQL", said)


async def _make_cluster(home: Home, account: Account, binaries: Path, held: int) -> None:
    if home.unfinished.exists():
        shutil.rmtree(home.unfinished)
    _make_folder(home.unfinished, 0o700)
    account.own(home.unfinished)
    # Its own log-in rules, replaced by ours, let nobody in. Bytes order text the same everywhere,
    # whatever the machine's locales and their next version.
    initdb: list[str | Path] = [
        binaries / "initdb",
        f"--pgdata={home.unfinished}",
        f"--username={_SUPERUSER}",
        "--auth=reject",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]
    made = await account.run(initdb, descriptors=[held])
    if made.returncode != 0:
        raise failure("initdb", made.stdout + made.stderr)
    passwords = {role: secrets.token_urlsafe(32) for role in (APP_ROLE, OWNER_ROLE)}
    single_user = ["--single", "-D", str(home.unfinished), "-c", "exit_on_error=on", _SUPERUSER]
    filled = await account.run(
        [binaries / "postgres", *single_user],
        standard_input=_first_statements(passwords),
        descriptors=[held],
    )
    if filled.returncode != 0:
        raise failure("Making the roles", filled.stdout + filled.stderr)
    _write(home.passwords, orjson.dumps(passwords), 0o600)
    home.unfinished.rename(home.cluster)
    _keep_names(home.folder)


def _first_statements(passwords: dict[str, str]) -> str:
    # CREATEROLE for the group roles of the schema, CREATEDB for scratch copies of the database.
    powers = {
        OWNER_ROLE: "NOSUPERUSER NOBYPASSRLS CREATEROLE CREATEDB",
        APP_ROLE: "NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB",
    }
    roles = [
        f"CREATE ROLE {role} LOGIN {powers[role]} PASSWORD '{password}'\n"
        for role, password in passwords.items()
    ]
    return f"{''.join(roles)}CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}\n"


async def _check_version(home: Home, account: Account, binaries: Path) -> None:
    asked = await account.run([binaries / "postgres", "--version"])
    ours = asked.stdout.rpartition(" ")[2].partition(".")[0].strip()
    try:
        theirs = (home.cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError as error:
        raise StoreSetupError(f"{home.cluster} is not a cluster of PostgreSQL.") from error
    if theirs != ours:
        raise StoreSetupError(
            f"{home.cluster} was made by PostgreSQL {theirs}, this is {ours}: move it over with "
            "pg_dump and pg_restore, or choose another database.data_dir."
        )


def _make_folder(folder: Path, mode: int) -> None:
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(mode)  # the umask may have taken bits away; the folder is ours


def _write(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(descriptor, mode)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def _keep_names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _quoted(value: str | Path) -> str:
    text = str(value).replace("\\", "\\\\").replace("'", "''")
    return f"'{text}'"
