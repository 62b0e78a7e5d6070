"""The keys and tokens that issuers mark as theirs: one table of facts, and the matchers made of it.

A row is: prefix, what follows it, issuer, where that is documented. What follows is a list of parts: a letter
for an alphabet with its count (`a36` is 36 letters and digits, `a20+` at least so many, `a20-40` a range), or a
literal in quotes. A last part with an exact count ends where its alphabet does. Lengths are lower bounds wherever
an issuer gives none or has changed them.

Facts marked `gitleaks` are those of the rule for that issuer in https://github.com/gitleaks/gitleaks.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from Agent.tree.undisturbed import undisturbed

__all__ = ["ALPHABETS", "Token", "quick_literals", "tokens", "tokens_by_head"]

ALPHABETS: Final = {
    "d": "0-9",
    "h": "0-9a-f",
    "x": "0-9a-fA-F",
    "l": "a-z0-9",
    "u": "A-Z0-9",
    "c": "A-Za-z",
    "a": "A-Za-z0-9",
    "w": "A-Za-z0-9_",
    "s": r"A-Za-z0-9_\-",
    "b": "A-Za-z0-9+/",
    "m": r"A-Za-z0-9+/_\-",
    "p": r"A-Za-z0-9_\-.=",
}
"""The letters that stand for alphabets: digits, hexadecimal (lower, any), letters and digits, base64 forms."""

_ROWS: Final = """
atk_              l8 '_' s30+             Agent Trace           Agent/server
sk-proj-          s12+                     OpenAI                platform.openai.com
sk-svcacct-       s10+                     OpenAI                platform.openai.com
sk-admin-         s12+                     OpenAI                platform.openai.com
sk-ant-api03-     s93 'AA'                Anthropic             docs.anthropic.com
sk-ant-admin01-   s93 'AA'                Anthropic             docs.anthropic.com
sk-ant-           s13+                    Anthropic             docs.anthropic.com
sk-or-            s14+                     OpenRouter            openrouter.ai/docs
sk-lf-            s14+                     Langfuse              langfuse.com/docs
sk-live-          s12+                    Stripe-like           gitleaks
sk-test-          s12+                    Stripe-like           gitleaks
sk-               a20+                    OpenAI, DeepSeek      platform.openai.com
sk-               h8 '-' h4 '-' h4 '-' h4 '-' h12  Langfuse     langfuse.com/docs
sk_live_          a12+                     Stripe, Clerk         docs.stripe.com/keys
sk_test_          a12+                     Stripe, Clerk         docs.stripe.com/keys
sk_prod_          a12+                     Stripe                gitleaks
sk_               a20+                    ElevenLabs, others    elevenlabs.io/docs
pk_live_          a12+                     Stripe                docs.stripe.com/keys
pk_test_          a12+                     Stripe                docs.stripe.com/keys
rk_live_          a12+                     Stripe                docs.stripe.com/keys
rk_test_          a12+                     Stripe                docs.stripe.com/keys
rk_prod_          a12+                     Stripe                gitleaks
whsec_            m16+                    Stripe, Svix          docs.stripe.com/webhooks
ghp_              w16+                    GitHub                docs.github.com
gho_              w16+                    GitHub                docs.github.com
ghu_              w16+                    GitHub                docs.github.com
ghs_              w16+                    GitHub                docs.github.com
ghr_              w16+                    GitHub                docs.github.com
github_pat_       w16+                    GitHub                docs.github.com
glpat-            s20 p0+                    GitLab                docs.gitlab.com/security/tokens
gldt-             s16+                    GitLab                docs.gitlab.com/security/tokens
glrt-             s20 p0+                    GitLab                docs.gitlab.com/security/tokens
glrtr-            s16+                    GitLab                docs.gitlab.com/security/tokens
glsoat-           s16+                    GitLab                docs.gitlab.com/security/tokens
glcbt-            s16+                    GitLab                docs.gitlab.com/security/tokens
glptt-            s16+                    GitLab                docs.gitlab.com/security/tokens
glft-             s16+                    GitLab                docs.gitlab.com/security/tokens
glimt-            s16+                    GitLab                docs.gitlab.com/security/tokens
glagent-          s16+                    GitLab                docs.gitlab.com/security/tokens
gloas-            s16+                    GitLab                docs.gitlab.com/security/tokens
glffct-           s16+                    GitLab                docs.gitlab.com/security/tokens
GR1348941         s16+                    GitLab                gitleaks
gitlab_session=   a20+                    GitLab                gitleaks
ATBB              a24+                    Bitbucket             support.atlassian.com
ATCTT3            s20 p0+                    Bitbucket             support.atlassian.com
ATATT3            s20 p0+                    Atlassian             gitleaks
xoxa-             s15+                    Slack                 docs.slack.dev/authentication
xoxb-             s15+                    Slack                 docs.slack.dev/authentication
xoxc-             s15+                    Slack                 docs.slack.dev/authentication
xoxd-             s15+                    Slack                 docs.slack.dev/authentication
xoxe-             s15+                    Slack                 docs.slack.dev/authentication
xoxe.xoxb-        d1 '-' a120+            Slack                 docs.slack.dev/authentication
xoxe.xoxp-        d1 '-' a120+            Slack                 docs.slack.dev/authentication
xoxp-             s15+                    Slack                 docs.slack.dev/authentication
xoxr-             s15+                    Slack                 docs.slack.dev/authentication
xoxs-             s15+                    Slack                 docs.slack.dev/authentication
xapp-             s15+                    Slack                 docs.slack.dev/authentication
hooks.slack.com/services/   b20+          Slack webhook         docs.slack.dev
hooks.slack.com/workflows/  b20+          Slack webhook         docs.slack.dev
hooks.slack.com/triggers/   b20+          Slack webhook         docs.slack.dev
hooks.zapier.com/hooks/catch/  d5+ '/' a5+  Zapier webhook      help.zapier.com
maker.ifttt.com/use/        s30+          IFTTT webhook         ifttt.com/maker_webhooks
outlook.office.com/webhook/  h8 '-' m20+  Teams webhook         learn.microsoft.com/microsoftteams
discord.com/api/webhooks/   d15+ '/' s40+ Discord webhook       discord.com/developers/docs
discordapp.com/api/webhooks/  d15+ '/' s40+  Discord webhook    discord.com/developers/docs
webhook.office.com/webhookb2/  l8 '-' m20+ '@' m30+  Teams webhook  gitleaks
AKIA              u16                     AWS                   docs.aws.amazon.com/IAM
ASIA              u16                     AWS                   docs.aws.amazon.com/IAM
ABIA              u16                     AWS                   docs.aws.amazon.com/IAM
ACCA              u16                     AWS                   docs.aws.amazon.com/IAM
A3T               u17                     AWS                   gitleaks
ABSK              b109-269                AWS Bedrock           docs.aws.amazon.com/bedrock
bedrock-api-key-  'YmVkcm9jay5hbWF6b25hd3MuY29t' b0+  AWS Bedrock  docs.aws.amazon.com/bedrock
amzn.mws.         h8 '-' h4 '-' h4 '-' h4 '-' h12  Amazon MWS   docs.developer.amazonservices.com
AIza              s35                     Google                cloud.google.com/docs/authentication
ya29.             s20+                    Google OAuth          developers.google.com/identity
1//0              s30+                    Google refresh token  developers.google.com/identity
GOCSPX-           s16+                    Google OAuth client   developers.google.com/identity
AQ.Ab             s30+                    Google                ai.google.dev
GOOG1E            u30+                    Google HMAC           cloud.google.com/storage/docs
EAAC              a30+                    Meta                  developers.facebook.com
EAAM              a30+                    Meta                  gitleaks
EAAG              a30+                    Meta                  developers.facebook.com
EAAA              s22+                    Square                gitleaks
sq0csp-           s16+                    Square                developer.squareup.com
sq0atp-           s16+                    Square                developer.squareup.com
sq0idp-           s16+                    Square                developer.squareup.com
npm_              a30+                    npm                   docs.npmjs.com
pypi-             s16+                    PyPI                  pypi.org/help
rubygems_         h40+                    RubyGems              guides.rubygems.org
CLOJARS_          l60                     Clojars               gitleaks
cio               a32                     crates.io             doc.rust-lang.org/cargo
dckr_pat_         s16+                    Docker                docs.docker.com
dckr_oat_         s16+                    Docker                docs.docker.com
oy2               l43                     NuGet                 learn.microsoft.com/nuget
hf_               a30+                   Hugging Face          huggingface.co/docs
api_org_          c34                     Hugging Face          gitleaks
gsk_              a20+                    Groq                  console.groq.com/docs
xai-              a20+                    xAI                   docs.x.ai
pplx-             a20+                    Perplexity            docs.perplexity.ai
r8_               a20+                    Replicate             replicate.com/docs
lsv2_             w30+                    LangSmith             docs.smith.langchain.com
ls__              a30+                    LangSmith             docs.smith.langchain.com
tvly-             s16+                    Tavily                docs.tavily.com
csk-              a30+                    Cerebras              inference-docs.cerebras.ai
nvapi-            s30+                    NVIDIA                docs.nvidia.com
e2b_              h30+                    E2B                   e2b.dev/docs
fc-               h32                     Firecrawl             docs.firecrawl.dev
fw_               a20+                    Fireworks             docs.fireworks.ai
rpa_              u30+                    RunPod                docs.runpod.io
tgp_v1_           s30+                    Together              docs.together.ai
jina_             s30+                    Jina                  jina.ai
pcsk_             w20+                    Pinecone              docs.pinecone.io
pa-               s40+                    Voyage                docs.voyageai.com
ak-               a22                     Modal                 modal.com/docs
as-               a22                     Modal                 modal.com/docs
wandb_v1_         w30+                    Weights & Biases      docs.wandb.ai
BSA               s27+                    Brave Search          api.search.brave.com
bb_live_          s20+                    Browserbase           docs.browserbase.com
m0-               a30+                    Mem0                  docs.mem0.ai
phc_              a30+                    PostHog               posthog.com/docs
phx_              a30+                    PostHog               posthog.com/docs
pylf_             w30+                    Pydantic Logfire      logfire.pydantic.dev
sntrys_           m30+                    Sentry                docs.sentry.io
sntryu_           h64                     Sentry                docs.sentry.io
glsa_             w16+                    Grafana               grafana.com/docs
glc_              m32+                    Grafana Cloud         grafana.com/docs
eyJrIjoi          m60+                    Grafana               gitleaks
NRAK-             u20+                    New Relic             docs.newrelic.com
NRAK-             l20+                    New Relic             gitleaks
NRII-             s30+                    New Relic             docs.newrelic.com
NRJS-             h19                     New Relic             gitleaks
NRRA-             h40+                    New Relic             docs.newrelic.com
dt0c01.           a24 '.' a60+            Dynatrace             docs.dynatrace.com
dt0s01.           a8 '.' a60+            Dynatrace             docs.dynatrace.com
dt0s02.           a8 '.' a60+            Dynatrace             docs.dynatrace.com
sgp_              x16 '_' x40             Sourcegraph           gitleaks
sgp_              'local_' x40            Sourcegraph           gitleaks
sgp_              x40                     Sourcegraph           gitleaks
slk_              x64                     Sourcegraph           sourcegraph.com/docs
sqp_              a40                     SonarQube             docs.sonarsource.com
squ_              a40                     SonarQube             docs.sonarsource.com
sqa_              a40                     SonarQube             docs.sonarsource.com
CCIPAT_           w16+                    CircleCI              circleci.com/docs
CCIPRJ_           w16+                    CircleCI              circleci.com/docs
bkua_             h30+                    Buildkite             buildkite.com/docs
dop_v1_           h32+                    DigitalOcean          docs.digitalocean.com
doo_v1_           h32+                    DigitalOcean          docs.digitalocean.com
dor_v1_           h32+                    DigitalOcean          docs.digitalocean.com
dapi              h32                     Databricks            docs.databricks.com
dose              h32                     Databricks            docs.databricks.com
dkea              h32                     Databricks            docs.databricks.com
shpat_            x16+                    Shopify               shopify.dev
shpss_            x16+                    Shopify               shopify.dev
shpca_            x16+                    Shopify               shopify.dev
shppa_            x16+                    Shopify               shopify.dev
shptka_           x16+                    Shopify               shopify.dev
lin_api_          w16+                    Linear                linear.app/developers
lin_oauth_        w16+                    Linear                linear.app/developers
hvs.              s20+                    HashiCorp Vault       developer.hashicorp.com/vault
hvb.              s20+                    HashiCorp Vault       developer.hashicorp.com/vault
hvr.              s20+                    HashiCorp Vault       developer.hashicorp.com/vault
s.                a24                     HashiCorp Vault       gitleaks
sb_secret_        s16+                    Supabase              supabase.com/docs
sbp_              h40                     Supabase              supabase.com/docs
pscale_tkn_       s30 p0+                    PlanetScale           planetscale.com/docs
pscale_pw_        s30 p0+                    PlanetScale           planetscale.com/docs
pscale_oauth_     s30 p0+                    PlanetScale           planetscale.com/docs
napi_             a30+                    Neon                  neon.com/docs
npg_              a16+                    Neon                  neon.com/docs
mdb_sa_sk_        s20+                    MongoDB Atlas         mongodb.com/docs
4b1d              a38                     ClickHouse            gitleaks
AVNS_             s16+                    Aiven                 aiven.io/docs
dp.pt.            a40+                    Doppler               docs.doppler.com
dp.st.            a40+                    Doppler               docs.doppler.com
dp.st.            s2-35 '.' a40+          Doppler               docs.doppler.com
dp.ct.            a40+                    Doppler               docs.doppler.com
dp.sa.            a40+                    Doppler               docs.doppler.com
dp.scim.          a40+                    Doppler               docs.doppler.com
dp.audit.         a40+                    Doppler               docs.doppler.com
st.               h8 '-' h4 '-' h4 '-' h4 '-' h12 '.' p16+  Infisical  infisical.com/docs
pul-              h40                     Pulumi                pulumi.com/docs
HRKU-             s30+                    Heroku                devcenter.heroku.com
nfp_              s30+                    Netlify               docs.netlify.com
nfc_              s30+                    Netlify               docs.netlify.com
nfo_              s30+                    Netlify               docs.netlify.com
fo1_              s30+                    Fly.io                fly.io/docs
fm1a_             m60+                    Fly.io                fly.io/docs
fm1r_             m60+                    Fly.io                fly.io/docs
fm2_              m60+                    Fly.io                fly.io/docs
vercel_           a20+                    Vercel                vercel.com/docs
vck_              a20+                    Vercel                vercel.com/docs
rnd_              a24+                    Render                render.com/docs
v1.0-             h24 '-' h60+            Cloudflare origin CA  gitleaks
tskey-            s16+                    Tailscale             tailscale.com/kb
dnkey-            m26 '-' m40+            Defined Networking    gitleaks
ntn_              d11 a35                 Notion                developers.notion.com
secret_           a43                     Notion                developers.notion.com
figd_             s30+                    Figma                 figma.com/developers
figu_             s30+                    Figma                 figma.com/developers
pat-na1-          x8 '-' x4 '-' x4 '-' x4 '-' x12  HubSpot      developers.hubspot.com
pat-eu1-          x8 '-' x4 '-' x4 '-' x4 '-' x12  HubSpot      developers.hubspot.com
pat               a14 '.' h64             Airtable              airtable.com/developers
pat.              s22 '.' a24 '.' a20     Harness               gitleaks
sat.              s22 '.' a24 '.' a20     Harness               gitleaks
key-              h32                     Mailgun               documentation.mailgun.com
pubkey-           h32                     Mailgun               documentation.mailgun.com
SG.               s20+ '.' s20+           SendGrid              docs.sendgrid.com
xkeysib-          h64 '-' a16             Brevo                 developers.brevo.com
xsmtpsib-         h64 '-' a16             Brevo                 developers.brevo.com
re_               a8 '_' a20+             Resend                resend.com/docs
md-               s22                     Mailchimp Transactional  mailchimp.com/developer
SK                h32                     Twilio                twilio.com/docs
PMAK-             h24 '-' h34             Postman               learning.postman.com
PMAT-             u26                     Postman               learning.postman.com
AKCp              a60+                    Artifactory           jfrog.com/help
cmVmd             a59                     Artifactory           gitleaks
ops_              m60+                    1Password             developer.1password.com
A3-               u6 '-' u6+ '-' u5 '-' u5 '-' u5  1Password    gitleaks
A3-               u6 '-' u6 '-' u5 '-' u5 '-' u5 '-' u5  1Password  gitleaks
rdme_             l60+                    ReadMe                docs.readme.com
sl.               s60+                    Dropbox               dropbox.com/developers
sl.u.             s60+                    Dropbox               dropbox.com/developers
LTAI              a16+                    Alibaba Cloud         alibabacloud.com/help
AKID              a32                     Tencent Cloud         cloud.tencent.com/document
AQVN              s35+                    Yandex Cloud          yandex.cloud/docs
YC                s38                     Yandex Cloud          gitleaks
y0_               s40+                    Yandex OAuth          yandex.com/dev
t1.               s20+ '.' s60+                    Yandex Cloud IAM      gitleaks
AGE-SECRET-KEY-1  u58                     age                   age-encryption.org
API-              u26                     Octopus Deploy        octopus.com/docs
live_             m40                     GoCardless            gitleaks
test_             h35                     Lob                   gitleaks
live_             h35                     Lob                   gitleaks
test_pub_         h31                     Lob                   gitleaks
live_pub_         h31                     Lob                   gitleaks
duffel_test_      m43                     Duffel                duffel.com/docs
duffel_live_      m43                     Duffel                duffel.com/docs
EZAK              a54                     EasyPost              gitleaks
EZTK              a54                     EasyPost              gitleaks
FLWSECK_TEST-     a12+                    Flutterwave           developer.flutterwave.com
FLWSECK-          a16+                    Flutterwave           developer.flutterwave.com
FLWPUBK_TEST-     a32                     Flutterwave           developer.flutterwave.com
fio-u-            m60+                    Frame.io              gitleaks
ico-              a32                     Infracost             infracost.io/docs
s-s4t2ud-         x64                     42 intra              gitleaks
s-s4t2af-         x64                     42 intra              gitleaks
p8e-              a32                     Adobe                 gitleaks
pnu_              a36                     Prefect               docs.prefect.io
pnb_              a36                     Prefect               docs.prefect.io
sm_aat_           a16+                    SettleMint            gitleaks
sm_pat_           a16+                    SettleMint            gitleaks
sm_sat_           a16+                    SettleMint            gitleaks
shippo_live_      x40                     Shippo                docs.goshippo.com
shippo_test_      x40                     Shippo                docs.goshippo.com
tk-us-            s40+                    Scalingo              gitleaks
tfp_              s40 p0+                    Typeform              typeform.com/developers
access-sandbox-       h8 '-' h4 '-' h4 '-' h4 '-' h12  Plaid    plaid.com/docs
access-development-   h8 '-' h4 '-' h4 '-' h4 '-' h12  Plaid    plaid.com/docs
access-production-    h8 '-' h4 '-' h4 '-' h4 '-' h12  Plaid    plaid.com/docs
sha256~           s43                     OpenShift             docs.openshift.com
pk.eyJ            s40+ '.' s20+           Mapbox                docs.mapbox.com
sk.eyJ            s40+ '.' s20+           Mapbox                docs.mapbox.com
pk.               l60 '.' l22             Mapbox                gitleaks
A21AA             s60+                    PayPal                developer.paypal.com
access_token$production$  l16 '$' h32     Braintree             developer.paypal.com
zpka_             s20+                    Zuplo                 zuplo.com/docs
ZXlK              m60+                    JSON web token in base64  RFC 7519
xprv              a100+                   Bitcoin               BIP 32
nsec1             l58                     Nostr                 NIP 19
pdl_live_         s20+                    Paddle                developer.paddle.com
pdl_sdbx_         s20+                    Paddle                developer.paddle.com
rzp_live_         a14+                    Razorpay              razorpay.com/docs
rzp_test_         a14+                    Razorpay              razorpay.com/docs
unkey_            a16+                    Unkey                 unkey.com/docs
tr_prod_          a20+                    Trigger.dev           trigger.dev/docs
tr_dev_           a20+                    Trigger.dev           trigger.dev/docs
signkey-prod-     h40+                    Inngest               inngest.com/docs
eyJ               s17+ '.' s4+ p0+        JSON web token        RFC 7519
eyJ               s16 '.eyJ' s17 p0+      JSON web token        RFC 7519
"""


class Token(NamedTuple):
    """One kind of key: what it begins with, the parts that follow, who issues it, where that is documented."""

    prefix: str
    parts: tuple[tuple[str, int, int | None], ...]
    """(alphabet, least, most or None), with a literal in the place of the alphabet where the most is 0."""
    issuer: str
    source: str

    @property
    def expression(self) -> str:
        """The regular expression of the whole key; it is linear, no two parts can share a character twice."""
        body = ""
        for name, least, most in self.parts:
            if most == 0:
                body += re.escape(name)
            elif most == least:
                body += f"[{ALPHABETS[name]}]{{{least}}}"
            else:
                body += f"[{ALPHABETS[name]}]{{{least},{most or ''}}}"
        name, _, most = self.parts[-1]
        # A letter that was glued to a long key leaves it one; a run that goes on, or a longer digest, is something else.
        glued = "{4}" if self.is_exact and name not in _DIGITS else ""
        return re.escape(self.prefix) + body + (f"(?![{ALPHABETS[name]}]{glued})" if most else "")

    @property
    def is_exact(self) -> bool:
        """Whether the format says so much that what has it is a key, even one of a single letter; a digest says less."""
        is_bounded = all(most is not None for _, _, most in self.parts)
        is_digest = all(name in _DIGITS or not most for name, _, most in self.parts)
        return is_bounded and not is_digest and sum(least for _, least, _ in self.parts) >= _EXACT_CHARS


_ROW: Final = re.compile(
    r"(?P<prefix>\S+) +(?P<parts>(?:(?:'[^']+'|[a-z]\d+(?:\+|-\d+)?) +)+)(?P<issuer>\S.*?)  +(?P<source>\S.*)"
)
_EXACT_CHARS: Final = 30
_DIGITS: Final = frozenset("dhx")
_PART: Final = re.compile(
    r"'(?P<literal>[^']+)'|(?P<name>[a-z])(?P<least>\d+)(?P<open>\+)?(?:-(?P<most>\d+))?"
)
_RUN_CHARS: Final = frozenset("-_+/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def _parsed(row: str) -> Token:
    match = _ROW.fullmatch(row)
    if match is None:
        raise ValueError(f"not a row of the table of tokens: {row!r}")
    parts: list[tuple[str, int, int | None]] = []
    for part in _PART.finditer(match["parts"]):
        if part["literal"]:
            parts.append((part["literal"], 0, 0))
        else:
            least = int(part["least"])
            parts.append((part["name"], least, None if part["open"] else int(part["most"] or least)))
    return Token(match["prefix"], tuple(parts), match["issuer"], match["source"])


@lru_cache(maxsize=1)
@undisturbed()
def tokens() -> tuple[Token, ...]:
    """All rows of the table."""
    return tuple(map(_parsed, _ROWS.strip().splitlines()))


@lru_cache(maxsize=1)
@undisturbed()
def tokens_by_head() -> dict[str, tuple[Token, ...]]:
    """The first two characters of a key to the rows with keys that begin so, the longest first."""
    found: dict[str, list[Token]] = {}
    for token in sorted(tokens(), key=lambda one: -len(one.prefix)):
        found.setdefault(token.prefix[:2], []).append(token)
    return {head: tuple(rows) for head, rows in found.items()}


def quick_literals() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What betrays a key to the quick look: (beginnings within a long run, ends of what stands before one).

    A run is made of letters, digits and `-_+/`. `#` stands for a hexadecimal digit and `?` for any character of
    a run. They are cut where the table below says so, and of two beginnings the shorter one is enough.
    """
    beginnings: set[str] = set()
    before: set[str] = set()
    for prefix, part, follows in {tuple(row.split()[:3]) for row in _ROWS.strip().splitlines()}:
        name, count = part[0], part[1:]
        last = max((at for at, char in enumerate(prefix) if char not in _RUN_CHARS), default=-1)
        if last >= 0 and prefix not in _TOLD_OTHERWISE:
            before.add(prefix[: last + 1])
            if follows[0] == "'" and count.isdigit() and int(count) < _RUN:
                before.add(prefix + "?" * int(count) + follows.strip("'"))
        elif name in {"h", "x"} and len(prefix) < _TELLING_CHARS:
            beginnings.add(prefix + "#" * 8)
        elif prefix not in _TOLD_OTHERWISE:
            beginnings.add(prefix)
    shortest = {
        one for one in beginnings if not any(one != two and one.startswith(two) for two in beginnings)
    }
    return tuple(sorted(one.encode() for one in shortest)), tuple(
        sorted(one.encode() for one in before | set(_TOLD_OTHERWISE.values()))
    )


_RUN: Final = 20
"""The quick look takes no shorter run for a key."""
_TELLING_CHARS: Final = 6
"""A prefix that is shorter says little without the digits behind it."""
_TOLD_OTHERWISE: Final = {
    "pat": "pat" + "?" * 14 + ".",
    "access_token$production$": "access_token$production$" + "?" * 16 + "$",
}
"""Prefixes that are words or stand far off, and what stands before the long run of such a key."""
