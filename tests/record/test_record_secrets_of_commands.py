"""Passwords in commands that are lists of words, wherever these lists are, and other lists of words beside them."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_kit import recording

from Agent.record.encode.redaction import Redactor
from Agent.record.secrets.commands import command_secrets
from Agent.record.secrets.issuers import looks_clean
from Agent.record.secrets.names import is_placeholder
from Agent.utils import trace_agent_action

REDACTOR = Redactor(b"key")
COMMANDS = [
    "mysql -u root -p@@ shop",
    "/usr/bin/mysqldump -p@@ shop",
    "mysqladmin -u root password @@",
    "sudo -u bob env mysql -p@@",
    "mongosh -u bob -p @@",
    "redis-cli -h h -a @@ ping",
    "kubectl exec pod -- redis-cli -a @@",
    "ldapsearch -x -D cn=a -w @@",
    "sqlcmd -S h -U bob -P @@",
    "sqlplus -S bob/@@@db",
    "curl -u bob:@@ h",
    "curl --proxy-user bob:@@ h",
    "etcdctl --user root:@@ get x",
    "http --auth bob:@@ h",
    "https -a bob:@@ h",
    "docker login -u bob -p @@ h",
    "helm registry login -u bob -p @@ h",
    "az login --service-principal -u app -p @@",
    "vault login @@",
    "vault login -method=token @@",
    "rabbitmqctl add_user bob @@",
    "rabbitmqctl -n rabbit@h change_password bob @@",
    "openssl rsa -passin pass:@@ -in f",
    "openssl enc -aes-256-cbc -k @@ -in f",
    "openssl passwd -6 @@",
    "sshpass -p @@ ssh -p 2222 h",
    "lftp -e ls -u bob,@@ h",
    "smbclient //h/s -U bob%@@",
    "net use \\\\srv\\share @@",
    "xfreerdp /u:bob /p:@@ /v:h",
    "schtasks /create /u bob /p @@",
    "snmpget -v3 -A @@ h",
    "snmpwalk -v2c -c @@ h",
    "htpasswd -b f bob @@",
    "ssh-keygen -t rsa -N @@ -f f",
    "wpa_passphrase home @@",
    "nmcli dev wifi connect home password @@",
    "rclone obscure @@",
    "qpdf --encrypt usr @@ 256 -- a b",
    "swaks --to a -ap @@",
    "gh secret set NAME --body @@",
    "plink -pw @@ h",
    "kadmin -p bob -w @@",
    "rar a -hp@@ a.rar f",
    "unrar x -p@@ a.rar",
    "x --password @@",
    "keytool -list -storepass @@ -keystore k",
]
PLACES = [
    lambda words: words,
    lambda words: [words],
    lambda words: [words, words],
    lambda words: [words, ["ls", "-l"]],
    lambda words: [["ls", "-l"], words],
    lambda words: [[words]],
    lambda words: (words,),
    lambda words: {"a": ({"argv": words}, None)},
    lambda words: [{"argv": tuple(words)}],
    lambda words: {"cmds": (tuple(words), tuple(words))},
    lambda words: {"command": words[0], "args": words[1:]},
    lambda words: {"cmd": words[:-1], "argv": words[-1:]},
    lambda words: f"running {words}",
    lambda words: json.dumps({"argv": words}),
]
PASSWORDS = st.from_regex(r"[A-Z][a-z]{3,8}[0-9]{2}[A-Z0-9]{4,12}", fullmatch=True).filter(
    lambda password: not is_placeholder(password)
)


def words_of(command, password):
    return [word.replace("@@", password) for word in command.split()]


@pytest.mark.first_case
@settings(max_examples=5)
@given(PASSWORDS, st.sampled_from(PLACES))
@pytest.mark.parametrize("command", COMMANDS)
def test_the_password_of_a_command_is_replaced_wherever_its_list_of_words_is(command, password, place):
    told = json.loads(json.dumps({"v": place(words_of(command, password))}))
    assert not looks_clean(orjson.dumps(told))
    clean = json.dumps(REDACTOR.value(told, "", {}))
    assert password not in clean
    for word in command.split():
        assert "@@" in word or word.replace("\\", "") in clean.replace("\\", ""), (word, clean)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_password_of_a_command_reaches_no_line(command):
    words = words_of(command, "Zq7MxpW4xT9m")

    class Runs:
        agent_id = "runs"

        @trace_agent_action
        def run(self, given, *more):
            self.kept = [given, more]
            return {"argv": (given,)}

    with recording() as recorded:
        for place in PLACES:
            Runs().run(place(words), *words)
        assert "Zq7MxpW4xT9m" not in recorded.text
        assert recorded.text.count("[redacted:") >= 3 * len(PLACES)


def test_the_words_of_a_command_may_have_blanks_quotes_and_signs():
    for password in ("two words", 'it\'s "it"', "a|b;c&d", "-- -"):
        for command in ("rabbitmqctl add_user bob @@", "x --password @@", "docker login -p @@"):
            if password.startswith("-"):
                continue  # it may as well be the next option
            clean = REDACTOR.value([word.replace("@@", password) for word in command.split()], "", {})
            assert clean[:-1] == command.split()[:-1] and clean[-1].startswith("[redacted:")


ORDINARY = st.sampled_from(
    "vault login net user use http https docker curl mysql add_user delete_user change_password password secret token "
    "bob eve name role sqlplus openssl rclone gh set list echo zip city street 7 12.5 v2.1 utf-8 2026-11-20 red".split()
)


@given(st.lists(ORDINARY, min_size=1, max_size=4) | st.lists(st.lists(ORDINARY, min_size=3, max_size=3)))
def test_lists_of_ordinary_words_are_kept(words):
    if words and isinstance(words[0], list) and {"password", "secret", "change_password"} & {*words[0]}:
        return  # the header of a table
    if "rabbitmqctl" not in words:
        assert REDACTOR.value(words, "", {}) == words


@given(st.lists(ORDINARY | st.sampled_from(["-p", "-u", "-a", "--user", "-P", "-w"]), max_size=6))
def test_options_of_other_programs_are_kept(words):
    for program in ("ls", "grep", "tar", "git", "mkdir", "rsync", "python"):
        other = [program, *(word for word in words if not command_secrets([word, "-p", "x1"]))]
        if not command_secrets(other):
            assert REDACTOR.value([other, other], "", {}) == [other, other]


@pytest.mark.parametrize(
    "value",
    [
        ["vault", "login", "logout", "tokens"],
        ["vault", "login", "-method=userpass", "username=bob"],
        ["add_user", "change_password", "delete_user", "list_users"],
        ["mysql", "-p", "shop"],
        ["curl", "-u", "bob", "h"],
        ["docker", "run", "-p", "8080:80", "image"],
        ["ssh", "-p", "2222", "host"],
        ["docker", "login", "--password-stdin"],
        ["http", "https", "ftp"],
        ["sqlplus", "-S", "/nolog"],
        [["mkdir", "-p", "a"], ["mkdir", "-p", "b"]],
        [["tar", "-p"], ["cp", "-p"]],
        [["zip", "city"], ["8001", "Bern"]],
        {"command": "ls", "args": ["-p", "a1b2"]},
    ],
    ids=str,
)
def test_what_only_resembles_the_password_of_a_command_is_kept(value):
    assert REDACTOR.value(value, "", {}) == value


@pytest.mark.parametrize(
    "rows",
    [
        [["user", "password"], ["bob", "-"], ["eve", "swordfish"]],
        [["zip", "password"], ["8001", "swordfish"]],
        [["login", "password", "role"], ["bob", "swordfish", "-"]],
        [["user", "password"], ["bob", "swordfish"], ["user", "password"], ["eve", "swordfish"]],
    ],
)
def test_a_table_with_signs_and_repeated_headers_stays_a_table(rows):
    assert "swordfish" not in json.dumps(REDACTOR.value(rows, "", {}))


@pytest.mark.further
def test_a_command_of_very_many_words_is_read_in_linear_time():
    import time

    def took(count):
        begun = time.process_time()
        command_secrets(["net", "openssl", "vault"] * count)
        return time.process_time() - begun

    took(100)
    assert took(6_000) < 0.5 + 10 * took(1_000)
