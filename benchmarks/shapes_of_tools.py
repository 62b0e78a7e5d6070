"""Secrets and harmless texts in the notation of protocols, command lines, connection strings, files and exceptions.

Written from the manuals of the tools, without a look at the matchers; `shapes_of_secrets.py` draws the values.
"""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

from benchmarks.drawn_secrets import (
    Draw,
    Shape,
    base64_of,
    chosen,
    digits,
    hex_of,
    in_text,
    in_value,
    password,
    wide,
    word,
)


def _netscape_cookie(r: Draw) -> tuple[str, str]:
    secret = word(32)(r)
    return f".example.net\tTRUE\t/\tTRUE\t1799999999\tsessionid\t{secret}", secret


def _quoted_url(r: Draw) -> tuple[str, str]:
    secret = quote(password(r) + "&/", safe="")
    return f"GET /login?user=bob&password={secret}&next=%2F", secret


def _json_thrice(r: Draw) -> tuple[str, str]:
    secret = word(16)(r)
    return json.dumps(json.dumps({"cfg": json.dumps({"password": secret})})), secret


def _basic_in_map(r: Draw) -> tuple[str, str]:
    secret = base64.b64encode(f"svc:{password(r)}".encode()).decode()
    return f"map[Accept:[*/*] Authorization:[Basic {secret}]]", secret


def _google_account(r: Draw) -> tuple[Any, str]:
    line = base64_of(48)(r)
    key = f"-----BEGIN PRIVATE KEY-----\n{base64_of(48)(r)}\n{line}\n-----END PRIVATE KEY-----\n"
    return json.dumps({"type": "service_account", "project_id": "p1", "private_key": key}), line


SECRETS: dict[str, Shape] = {
    # columns: the name is in the header, the value in a row
    "INSERT": in_text("INSERT INTO users (name, password) VALUES ('bob', '@@')", chosen),
    "INSERT of two rows": in_text(
        'insert into "app"."users"("id","api_token","mail") values (1,\'x\',NULL),(2,\'@@\',\'b@example.org\')', word(32)
    ),
    "INSERT with a comma in a text": in_text("INSERT INTO t (note, pwd) VALUES ('a, b (c)', '@@') RETURNING id"),
    "SQLAlchemy parameters": in_text(
        "(sqlite3.IntegrityError) NOT NULL constraint failed\n[SQL: INSERT INTO users (name, password) VALUES (?, ?)]\n"
        "[parameters: ('bob', '@@')]", chosen
    ),
    "CSV": in_text("user,password\nbob,@@\n", chosen),
    "CSV, quoted, later row": in_text('"id";"mail";"api_key"\n"1";"a@example.org";""\n"2";"b@example.org";"@@"', word(32)),
    "TSV": in_text("user\tpassword\tcity\nann\t\tRome\nbob\t@@\tOslo", chosen),
    "markdown table": in_text("| user | password |\n|---|---|\n| bob | @@ |", chosen),
    "psql output": in_text(" id | name | password \n----+------+----------\n  1 | bob  | @@\n(1 row)", chosen),
    "aligned columns": in_text("USER     PASSWORD         HOST\nbob      @@ db1\n", word(16)),
    # lines of protocols
    "FTP": in_text("USER bob\r\nPASS @@\r\n", chosen),
    "FTP log": in_text("[12:00:01] > PASS @@", chosen),
    "POP3 log": in_text("C: USER bob\nS: +OK\nC: PASS @@\nS: +OK logged in", password),
    "IMAP": in_text('a001 LOGIN bob@example.org "@@"', chosen),
    "Redis": in_text("AUTH @@", chosen),
    "Redis 6": in_text("AUTH default @@", chosen),
    "NNTP": in_text("AUTHINFO PASS @@", chosen),
    "IRC": in_text("PRIVMSG NickServ :IDENTIFY @@", chosen),
    "IRC pass": in_text("PASS oauth:@@\r\nNICK bot", word(30)),
    "SMTP plain": in_text("AUTH PLAIN @@", lambda r: base64.b64encode(f"\0bob\0{password(r)}".encode()).decode()),
    "SMTP login": in_text(
        "AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\nYm9i\r\n334 UGFzc3dvcmQ6\r\n@@\r\n235 ok",
        lambda r: base64.b64encode(password(r).encode()).decode(),
    ),
    "LDIF": in_text("dn: uid=bob,dc=x\nuserPassword: @@\n", chosen),
    "RADIUS": in_text('User-Name = "bob"\nUser-Password = "@@"', chosen),
    "SOAP": in_text('<wsse:Username>bob</wsse:Username><wsse:Password Type="http://x#PasswordText">@@</wsse:Password>', chosen),
    "GraphQL": in_text('mutation { login(email: "b@example.org", password: "@@") { id } }', chosen),
    # headers
    "Go header": _basic_in_map,
    "Spring header": in_text('headers=[Authorization:"Bearer @@", Accept:"*/*"]', word(40)),
    "httpx header": in_text("Headers([('host', 'a'), ('authorization', 'Bearer @@')])", word(40)),
    "nginx header": in_text('proxy_set_header Authorization "Bearer @@";', word(40)),
    "subscription key": in_text("Ocp-Apim-Subscription-Key: @@", hex_of(32)),
    "x-goog-api-key": in_text("x-goog-api-key: @@", word(39)),
    "HAR cookie": in_value(lambda s: {"headers": [{"name": "Cookie", "value": f"sid={s}; theme=dark"}]}, word(32)),
    "Netscape cookie": _netscape_cookie,
    "cookie jar": in_text("<RequestsCookieJar[<Cookie sessionid=@@ for .example.net/>]>", word(32)),
    "connect.sid": in_text("Cookie: lang=de; connect.sid=s%3A@@", word(32)),
    "browser's cookie": in_value(lambda s: {"name": "sessionid", "value": s, "domain": "h"}, word(32)),
    # command lines
    "psql -W is none, .pgpass is": in_text("db.example.com:5432:app:bob:@@", chosen),
    "pgpass with wildcards": in_text("*:*:*:postgres:@@", chosen),
    "mosquitto": in_text("mosquitto_pub -h mq -u bob -P @@ -t x", chosen),
    "rabbitmqctl": in_text("rabbitmqctl add_user bob @@", chosen),
    "rabbitmqctl change": in_text("rabbitmqctl change_password bob @@", chosen),
    "cqlsh": in_text("cqlsh -u cassandra -p @@ h", chosen),
    "cypher-shell": in_text("cypher-shell -u neo4j -p @@ 'RETURN 1'", chosen),
    "neo4j-admin": in_text("neo4j-admin dbms set-initial-password @@", chosen),
    "etcdctl": in_text("etcdctl --user root:@@ get /x", chosen),
    "consul": in_text("consul kv get -token=@@ a", word(32)),
    "ssh-keygen": in_text("ssh-keygen -t ed25519 -N '@@' -f key", chosen),
    "openssl passwd": in_text("openssl passwd -6 @@", chosen),
    "rclone": in_text("rclone obscure @@", chosen),
    "lftp": in_text("lftp -u bob,@@ sftp://h", chosen),
    "curl proxy user": in_text("curl --proxy-user bob:@@ -x p https://h", chosen),
    "curl -U": in_text("curl -U bob:@@ -x p https://h", chosen),
    "curl bearer": in_text("curl --oauth2-bearer @@ https://h", word(40)),
    "curl data": in_text("curl -d 'user=a&password=@@' https://h", chosen),
    "curl cookie": in_text("curl -b 'sessionid=@@' https://h", word(32)),
    "curl -u in a list": in_value(lambda s: ["curl", "-s", "-u", f"bob:{s}", "https://h"], chosen),
    "HTTPie": in_text("http -a bob:@@ GET https://h/x", chosen),
    "mount": in_text("mount -t cifs -o username=bob,password=@@ //h/s /mnt", chosen),
    "xfreerdp": in_text("xfreerdp /u:bob /p:@@ /v:h", chosen),
    "ipmitool": in_text("ipmitool -I lanplus -H h -U admin -P @@ power status", chosen),
    "snmpwalk v3": in_text("snmpwalk -v3 -l authPriv -u bob -a SHA -A @@ h", chosen),
    "snmpwalk community": in_text("snmpwalk -v2c -c @@ 10.0.0.1 system", chosen),
    "nmcli": in_text("nmcli dev wifi connect home password @@", chosen),
    "wpa_passphrase": in_text("wpa_passphrase home @@", chosen),
    "mysqladmin": in_text("mysqladmin -u root password @@", chosen),
    "redis-cli --pass": in_text("redis-cli --pass @@ ping", chosen),
    "Jupyter": in_text("jupyter lab --NotebookApp.token=@@", hex_of(48)),
    "skopeo": in_text("skopeo copy --src-creds bob:@@ docker://a docker://b", chosen),
    "podman creds": in_text("podman pull --creds=bob:@@ registry/x", chosen),
    "helm registry": in_text("helm registry login -u bob -p @@ registry", chosen),
    "az login": in_text("az login --service-principal -u id -p @@ --tenant t", word(34)),
    "az storage": in_text("az storage blob list --account-key @@", base64_of(64)),
    "aws configure": in_text("aws configure set aws_secret_access_key @@", base64_of(30)),
    "cargo login": in_text("cargo login @@", word(35)),
    "npm config": in_text("npm config set //registry.example.net/:_authToken @@", word(36)),
    "git header": in_text('git -c http.extraheader="AUTHORIZATION: bearer @@" fetch', word(40)),
    "rar": in_text("rar a -hp@@ x.rar y", chosen),
    "qpdf": in_text("qpdf --encrypt u @@ 256 -- a.pdf b.pdf", chosen),
    "jarsigner": in_text("jarsigner -keypass @@ -storepass x a.jar k", chosen),
    "plink": in_text("plink -ssh bob@h -pw @@ ls", chosen),
    "psexec": in_text(r"psexec \\h -u bob -p @@ cmd", chosen),
    "schtasks": in_text("schtasks /create /tn x /ru bob /rp @@ /tr y", chosen),
    "cmdkey": in_text("cmdkey /add:h /user:bob /pass:@@", chosen),
    "wmic": in_text("wmic /node:h /user:bob /password:@@ os get", chosen),
    "radtest": in_text("radtest bob @@ localhost 0 testing123", chosen),
    "swaks": in_text("swaks --to a@h -au bob -ap @@", chosen),
    "x11vnc": in_text("x11vnc -passwd @@ -display :0", chosen),
    "setx": in_text("setx API_TOKEN @@", word(32)),
    "fish": in_text("set -x API_TOKEN @@", word(32)),
    "expect": in_text('expect "Password:"\nsend "@@\\r"', chosen),
    "gh secret": in_text("gh secret set API_TOKEN --body @@", word(32)),
    "ansible": in_text("ansible-playbook site.yml -e ansible_become_pass=@@", chosen),
    # connection strings
    "MySQL in Go": in_text("dial bob:@@@tcp(db:3306)/shop?parseTime=true", word(16)),
    "mysql+pymysql": in_text("mysql+pymysql://bob:@@@db/shop", word(16)),
    "mssql+pyodbc": in_text("mssql+pyodbc://sa:@@@h/db?driver=ODBC+Driver+18", word(16)),
    "snowflake": in_text("snowflake://bob:@@@acc-1/db/public?warehouse=w", word(16)),
    "neo4j": in_text("neo4j+s://neo4j:@@@x.databases.neo4j.io", word(24)),
    "clickhouse": in_text("clickhouse+native://default:@@@ch:9000/d", word(16)),
    "elasticsearch": in_text("https://elastic:@@@es:9200/_cat", word(20)),
    "NATS": in_text("nats://bob:@@@nats:4222", word(16)),
    "MQTT": in_text("mqtts://dev1:@@@broker:8883", word(16)),
    "AMQP": in_text("amqp://guest:@@@mq/%2f", word(16)),
    "LDAP": in_text("ldap bind cn=admin,dc=x with credentials @@", word(16)),
    "JDBC SQL Server": in_text("jdbc:sqlserver://h:1433;databaseName=d;user=sa;password=@@;encrypt=true", chosen),
    "JDBC Db2": in_text("jdbc:db2://h:50000/d:user=bob;password=@@;", chosen),
    "Service Bus": in_text("Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=@@", base64_of(32)),
    "Cosmos DB": in_text("AccountEndpoint=https://a.documents.azure.com:443/;AccountKey=@@;", base64_of(64)),
    "SQL Server words": in_text("Data Source=h;Initial Catalog=d;User Id=sa;Pwd=@@", chosen),
    "Kafka SCRAM": in_text("--add-config 'SCRAM-SHA-256=[iterations=8192,password=@@]'", chosen),
    "Sentry DSN": in_text("https://0123456789abcdef0123456789abcde7:@@@sentry.io/17", hex_of(32)),
    "MongoDB options": in_text("mongodb://bob:@@@a:27017,b:27017/?replicaSet=r0", word(16)),
    # files
    "Go struct": in_text("{User:bob Password:@@ Host:h}", word(16)),
    "Ruby hash": in_text('{:user=>"bob", :password=>"@@"}', chosen),
    "PHP dump": in_text('  ["password"]=>\n  string(12) "@@"', chosen),
    "PHP print": in_text("Array\n(\n    [user] => bob\n    [password] => @@\n)", chosen),
    "Java object": in_text("Login{user=bob, password=@@, active=true}", chosen),
    "bash array": in_text("[password]=@@ [user]=bob", chosen),
    "YAML flow": in_text("db: {user: bob, password: @@, port: 5432}", word(14)),
    "XML with CDATA": in_text("<password><![CDATA[@@]]></password>", chosen),
    "XML, value first": in_text('<property value="@@" name="db.password"/>', chosen),
    "Tomcat": in_text('<user username="bob" password="@@" roles="manager"/>', chosen),
    "Apache": in_text("AuthLDAPBindPassword @@", chosen),
    "HAProxy": in_text("stats auth admin:@@", chosen),
    "HAProxy user": in_text("user bob insecure-password @@", chosen),
    "Postfix": in_text("[smtp.example.net]:587 bob@example.net:@@", chosen),
    "systemd": in_text('Environment="DB_PASSWORD=@@" "LANG=C"', chosen),
    "Chef": in_text("node['db']['password'] = '@@'", chosen),
    "two words": in_text('DB_PASSWORD="@@ and more"', word(10)),
    "JSON three times": _json_thrice,
    "quoted URL": _quoted_url,
    "Google account": _google_account,
    "WIFI code": in_text("WIFI:T:WPA;S:home;P:@@;;", chosen),
    "WIFI code, hidden": in_text("WIFI:S:My Net;P:@@;T:WPA;H:true;;", chosen),
    # webhooks and links
    "IFTTT": in_text("https://maker.ifttt.com/trigger/x/with/key/@@", word(22)),
    "Google chat": in_text("https://chat.googleapis.com/v1/spaces/AAA/messages?threadKey=1&token=@@", word(43)),
    "Mattermost": in_text("https://chat.example.net/hooks/@@", lambda r: word(26)(r).lower()),
    "magic link": in_text("https://app.example.net/login?magic_token=@@", word(40)),
    "reset link": in_text("https://app.example.net/reset-password/@@", word(40)),
    # calls and fields
    "smtplib": in_text("smtp.login('bob', '@@')", chosen),
    "imaplib": in_text('server.login("bob@example.org", "@@")', chosen),
    "HTTPBasicAuth": in_text("auth=HTTPBasicAuth('bob', '@@')", chosen),
    "BasicAuth": in_text('aiohttp.BasicAuth("bob", "@@")', chosen),
    "Playwright": in_text('page.fill("#password", "@@")', chosen),
    "Playwright label": in_text("page.get_by_label('Password').fill('@@')", chosen),
    "browser tool": in_value(lambda s: {"element": "Password field", "ref": "e12", "text": s}, chosen),
    "browser tool 2": in_value(lambda s: {"action": "type", "element": "Password input box", "text": s}, chosen),
    "form field": in_value(lambda s: {"type": "password", "name": "field1", "value": s}, chosen),
    "form fields": in_value(lambda s: {"fields": [{"name": "f1", "type": "password", "value": s}]}, chosen),
    "HTML field": in_text('<input type="password" id="f1" value="@@">', chosen),
    "HTML field, value first": in_text('<input value="@@" type="password">', chosen),
    # what exceptions repeat
    "pydantic": in_text(
        "1 validation error for Login\npassword\n  String should have at least 12 characters "
        "[type=string_too_short, input_value='@@', input_type=str]", chosen
    ),
    "jsonschema": in_text("'@@' is too short\n\nOn instance['password']:\n    '@@'", chosen),
    "click": in_text("Error: Invalid value for '--token': '@@' is not a UUID", word(24)),
    "argparse": in_text("error: argument --token: invalid token value: '@@'", word(24)),
    # what people and models write
    "as the password": in_text("use @@ as the password", chosen),
    "log in with": in_text("log in with bob / @@", chosen),
    "credentials": in_text("The credentials are admin / @@ for staging", chosen),
    "login failed": in_text("login failed for bob/@@", chosen),
    "French": in_text("mot de passe : @@", chosen),
    "Russian": in_text("Пароль: @@", chosen),
    "Italian": in_text("La password è: @@", chosen),
    "Polish": in_text("hasło: @@", chosen),
    "Turkish": in_text("parola: @@ şifre", chosen),
    "Spanish": in_text("la clave de acceso es: @@", chosen),
    "Korean": in_text("비밀번호: @@", chosen),
    "full width": in_text(wide("password=") + "@@", chosen),
    "zero width": in_text("pass\u200bword=@@", chosen),
    "token in a word": in_text("token @@", lambda r: "q7" + word(10)(r)),
    "Asana": in_text("1/1202345678901234:@@", hex_of(32)),
    "your code": in_text("Your code is @@", digits(6)),
    "is your code": in_text("@@ is your verification code", digits(6)),
    "Google code": in_text("G-@@ is your Google verification code.", digits(6)),
    "code that expires": in_text("Use code @@ to sign in. It expires in 10 minutes.", digits(6)),
}  # fmt: skip


HARMLESS: dict[str, str | dict[str, Any]] = {
    # columns
    "INSERT of hashes": "INSERT INTO users (name, password_hash) VALUES (:name, :password_hash)",
    "INSERT placeholders": "INSERT INTO users (name, password) VALUES (%s, %s)",
    "INSERT question marks": "INSERT INTO tokens (token, kind) VALUES (?, ?), (?, ?)",
    "INSERT of words": "INSERT INTO words (token, kind) VALUES ('river', 'noun')",
    "INSERT from SELECT": "INSERT INTO users (name, password) SELECT name, password FROM old_users",
    "CSV of tokens": "token,count\nriver,17\nbank,4",
    "CSV of results": "name,pass,fail\nlogin,17,2\nlogout,3,0",
    "CSV of prose": "Open the door,key in hand\nthe token, he said",
    "markdown of parameters": "| name | type |\n|---|---|\n| password | string |\n| token | string |",
    "markdown of tests": "| test | pass | key |\n|---|---|---|\n| login | yes | a |",
    "markdown of rules": "| field | password |\n|---|---|\n| length | 12 characters |\n| required | yes |",
    "psql columns": " column_name | data_type \n-------------+-----------\n password    | text\n token       | uuid",
    "help of a tool": "USER     PASSWORD         HOST\n  the user, the password and the host",
    # protocols and consoles
    "pass in prose": "PASS all gates before 10:30 am",
    "test results": "PASS tests/test_login.py\nPASS tests/test_4.py::test_x1",
    "go test": "--- PASS: TestLogin17 (0.03s)\nPASS\nok  \texample.net/a1\t0.012s",
    "AUTH prose": "AUTH failed for 10.0.0.17 after 3 attempts",
    "AUTH capability": "250-AUTH LOGIN PLAIN CRAM-MD5 XOAUTH2",
    "LOGIN prose": "LOGIN from 10.0.0.3 port 52514 ssh2",
    "LOGIN ids": "2026-11-20 LOGIN user17 session3 OK",
    "IMAP capability": "* CAPABILITY IMAP4rev1 AUTH=PLAIN LOGINDISABLED",
    "host and ports": "10.0.0.1:5432:app:ready:ok",
    "compiler line": "src/main.c:17:5:error:expected",
    "grep line": "app.py:5432:app:bob:x",
    "times": "10:30:45:12:07",
    "IPv6": "2001:db8:0:5432:app1:22:0:1",
    # calls and fields
    "login without password": "smtp.login(user, password)",
    "login with names": "client.login('bob', settings.password)",
    "fill another": 'page.fill("#username", "bob17")',
    "fill from environment": 'page.fill("#password", os.environ["PASSWORD"])',
    "password field": {"element": "Password field", "visible": True, "role": "textbox"},
    "form of a password": {"type": "password", "name": "field1", "label": "Password"},
    "schema of a form": {"type": "password", "title": "Your password", "default": ""},
    "html type": '<input type="password" id="f1" class="w-100">',
    "pydantic other": "1 validation error for Order\ncount\n  Input should be less than 5 [type=less_than, input_value=17, input_type=int]",
    "pydantic missing": "1 validation error for Login\npassword\n  Field required [type=missing, input_value={'user': 'bob'}, input_type=dict]",
    "keys of an app": '<property value="dark" name="theme"/>',
    "value first": '<option value="17" name="password_length"/>',
    # command lines
    "curl proxy": "curl -U $PROXY_USER -x p https://h",
    "ports": "docker run -p 8080:80 -u 1000:1000 nginx",
    "plink port": "plink -P 2222 bob@h uptime",
    "snmp": "snmpwalk -v2c -c public 10.0.0.1",
    "mosquitto port": "mosquitto_sub -p 8883 -t a/b",
    "ssh-keygen empty": "ssh-keygen -t ed25519 -N '' -f key",
    "rabbitmq list": "rabbitmqctl list_users --formatter json",
    "wpa": "wpa_passphrase SSID [passphrase]",
    "HTTPie other": "http -a $USER:$TOKEN GET https://h",
    "set in fish": "set -x PATH /usr/local/bin $PATH",
    "set in a test": "set tokens to 17 and keys to 3",
    # what people and models write
    "as the password, prose": "use your birthday as the password and we will refuse it",
    "log in with GitHub": "log in with GitHub / Google",
    "credentials prose": "The credentials are missing / expired",
    "login failed for a path": "login failed for user/17 of tenant/4",
    "French prose": "Le mot de passe est obligatoire. Mot de passe oublié ?",
    "French rule": "mot de passe : au moins 12 caractères",
    "your code": "Your code is 1200 lines long",
    "your code is": "Your code is 482913 bytes after minification",
    "error code": "exit code 137, status code 404, error code 100250",
    "postal code": "postal code 482913, country code 49",
    "code review": "Use code 17 of the table",
    "token counts": "token 4096 of 8192; token budget2 left",
    "token word": "token vocabulary2 and token embeddings",
    "fractions": "1/1202345678901234:done",
    "full width prose": wide("password") + "\u3000" + wide("required"),
    "entities": "Forgot pass&#119;ord? Click &#8594; here",
    "wifi": "WIFI:T:nopass;S:guest;;",
    "wifi prose": "WIFI: connected to home; power: 80%",
}  # fmt: skip
