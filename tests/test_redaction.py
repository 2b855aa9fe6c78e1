"""What is taken for a secret, what is not, and that hostile text costs no more time than other text."""

import ast
import sys
from pathlib import Path
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from claude_force.redaction import redact

BODY = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEpAIBAAKCAQEA\nx+/=\n-----END RSA PRIVATE KEY-----"
CUT_PEM = f"-----BEGIN PRIVATE KEY-----\n{BODY}\n{BODY}"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
SHAPED = [
    (f"sk-ant-api03-{BODY}-AA", "anthropic-key"),
    (f"sk-{BODY}", "openai-key"),
    (f"sk-proj-{BODY}_{BODY}", "openai-key"),
    ("AKIAIOSFODNN7EXAMPLE", "aws-key"),
    ("ASIAIOSFODNN7EXAMPLE", "aws-key"),
    (f"ghp_{BODY}abcd", "github-token"),
    (f"github_pat_{BODY}", "github-token"),
    ("glpat-abcdEFGH1234ijklMNOP", "gitlab-token"),
    ("xoxb-1234567890-abcdefghij", "slack-token"),
    (f"AIza{BODY}abc", "google-key"),
    (f"npm_{'aB3' * 12}", "npm-token"),
    (f"hf_{'aB3' * 12}", "huggingface-token"),
    (f"pypi-{BODY}{BODY}", "pypi-token"),
    (f"sk_live_{BODY}", "stripe-key"),
    (f"rk_test_{BODY}", "stripe-key"),
    (JWT, "jwt"),
    (PEM, "private-key"),
    (CUT_PEM, "private-key"),
    (PEM.replace("\n", "\\n"), "private-key"),
]
LABELLED = [
    ("password=", "hunter2", ""),
    ("password: ", "hunter2", ""),
    ("PASSWORD=", "mysecretpassword", "\n"),
    ('{"password": "', "correct horse battery", '"}'),
    ("{'passwd': '", 'pa"ss', "'}"),
    ('{\\"password\\": \\"', "hunter2", '\\"}'),
    ('password: str = "', "hunter2", '"'),
    ("mysql --password ", "hunter2", " db"),
    ("mysql --password=", "hunter2", " db"),
    ("--db-password '", "hunter2", "'"),
    ("--api-key ", "abcd1234", ""),
    ("export AWS_SECRET_ACCESS_KEY=", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""),
    ("api_key = '", "abcdef", "'"),
    ("x-api-key: ", "abcdef123", "\r\n"),
    ("client_secret=", "a=b==", ""),
    ("https://example.com/?token=", "abcdef", "&page=2"),
    ("Authorization: Bearer ", "abc.def", ""),
    ("Authorization: Basic ", "dXNlcjpwYXNz", ""),
    ("curl -H 'authorization: token ", "abcdef", "'"),
    ('"Authorization": "Bearer ', "abc.def", '"'),
    ("a bearer ", BODY, " was sent"),
    ("postgres://user:", "p4ss", "@host/db"),
    ("redis://:", "p@ss", "@host"),
    ("https://hooks.slack.com/services/", "T00000000/B00000000/XXXXXXXX", ""),
    ("İ password=", "hunter2", " İ"),
]
INNOCENT = [
    "The token is a unit of text; 5 tokens make a sentence. Token usage: 12345.",
    "Forgot your password? Password: required. The password must be changed, the secret: practice.",
    "See the --password option and --token to pass one.",
    "max_tokens=4096, token_count = 12, {'tokens': 7}, max_token: 100000",
    "def login(user: str, password: str, token: str | None = None) -> Token: ...",
    "password = getpass.getpass('Password: ', stream=None)",
    "token = tokens[3]; token = self.next_token; secret = os.environ['SECRET']",
    "connect(password=password, api_key=args.api_key, token=get_token())",
    "if token == 'async' or password != 'x': return secret",
    'password: ${DB_PASSWORD}, token=$TOKEN, "api_key": "<your key>", secret="***", password={password}',
    'password_file = /run/secrets/db, PASSWORD=/run/secrets/db, "password": "/run/secrets/db"',
    "commit 0123456789abcdef0123456789abcdef01234567, md5 d41d8cd98f00b204e9800998ecf8427e",
    "uuid 123e4567-e89b-12d3-a456-426614174000, sha256:" + "ab" * 32,
    "task-0123456789abcdef0123456789abcdef and disk-ant; sk-learn; risk-free; AKIA; ghp_; eyJ; https://host:8080/a@b",
    '{"token": "The token to use, as text", "description": "a secret value"}',
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    'START = b"-----BEGIN PRIVATE KEY-----"',
    "Bearer authentication, Basic authentication, bearer of news",
]


@pytest.mark.parametrize(("secret", "kind"), SHAPED)
@pytest.mark.parametrize("around", ["{}", "see {}, please", "x={}\n", '"{}"'])
def test_secret_of_a_known_shape_is_replaced_by_its_kind(secret, kind, around):
    assert redact(around.format(secret)) == around.format(f"[redacted:{kind}]")


@pytest.mark.parametrize(("before", "secret", "after"), LABELLED)
def test_secret_after_its_label_is_replaced_and_the_rest_stays(before, secret, after):
    redacted = redact(f"{before}{secret}{after}")
    assert secret not in redacted
    assert redacted.startswith(f"{before}[redacted:")
    assert redacted.endswith(f"]{after}")


@pytest.mark.parametrize("text", INNOCENT)
def test_prose_and_code_that_speak_of_secrets_stay(text):
    assert redact(text) == text


def test_source_code_stays_code():
    """The library of this interpreter, over ten thousand lines, with their tokens, passwords and keys."""
    names = ["tokenize", "getpass", "smtplib", "urllib/parse", "http/client", "imaplib", "secrets"]
    for name in names:
        text = (Path(ast.__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        changed = [line for line in redact(text).splitlines() if "[redacted:" in line]
        assert changed == [], (name, sys.version)


def test_sentence_in_quotes_may_hold_a_secret():
    assert redact('{"token": "use password=hunter2 here"}') == '{"token": "use password=[redacted:password] here"}'


def test_known_secret_is_replaced_wherever_it_stands():
    text = redact("xxlocal-dev-key-1xx and %local-dev-key-1%", ["local-dev-key", "local-dev-key-1"])
    assert text == "xx[redacted:known-secret]xx and %[redacted:known-secret]%"


@pytest.mark.parametrize("known", ["", "test", "redacted:", "[redacted:known-secret]", "known-secret"])
def test_known_secret_that_would_spoil_ordinary_text_is_let_be(known):
    assert redact("a test [redacted:jwt] and so on", [known]) == "a test [redacted:jwt] and so on"
    assert redact(redact("known-secret", [known]), [known]) == redact("known-secret", [known])


PIECES = st.sampled_from(
    [piece for secret, _ in SHAPED for piece in (secret, secret[:12])]
    + [piece for row in LABELLED for piece in row]
    + [
        "[redacted:",
        "]",
        "[redacted:jwt]",
        '"',
        "'",
        "\\",
        ":",
        "=",
        "@",
        "://",
        "--",
        " ",
        "\n",
        "-",
        "key",
        "sk-",
        "İ",
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join))
@example("://a:[redacted:jwt]@x")
@example("password=''token=\"secret='")
def test_redacting_twice_changes_nothing_more(text):
    assert redact(redact(text)) == redact(text)


MARK = "[redacted:known-secret]"
SECRETS = st.text(min_size=8, max_size=12).filter(lambda secret: secret not in MARK)


@given(st.lists(PIECES | st.text(max_size=5), max_size=8).map("".join), SECRETS)
def test_known_secrets_do_not_come_back(text, secret):
    once = redact(f"{text}{secret}{text}", [secret])
    assert secret not in once.replace(MARK, "\0")
    assert redact(once, [secret]) == once


HOSTILE = [
    "sk-ant-", "sk-", "sk-proj-", "AKIA", "eyJ", "eyJaaaaaaaa.", "-----BEGIN PRIVATE KEY-----\n", "-----", "://", "://a:",
    "a:b@", "password=", "password:", 'password="', "password='", "token=/", 'token="a ', "--a", "--", "--password ",
    "Authorization: ", "Bearer ", "Basic ", "a_", "token=a_", "a.", "token=a.", " ", "\n", "[redacted:", "token: a ",
    "password=[", "key", "xox", '"', "\\", "/", "token=a/",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_length_of_hostile_text_not_with_its_square(piece):
    short, long = 16_000, 256_000
    took = {size: min(_seconds(piece * (size // len(piece))) for _ in range(3)) for size in (short, long)}
    # linear is 16 times as long, a square 256 times; what a busy machine adds lies between
    assert took[long] < 90 * max(took[short], 1e-4)


def _seconds(text):
    started = process_time()
    redact(text)
    return process_time() - started
