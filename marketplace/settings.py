"""One file of settings for a laptop and for production; they differ by values only.

Without KINORA_DATABASE_URL, KINORA_BROKER_URL or KINORA_S3_BUCKET the embedded service of that
kind under KINORA_DATA is meant, which `manage.py up` starts.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from marketplace import environment as env
from marketplace.embedded import places

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(env.text("KINORA_DATA", str(ROOT / "var"))).resolve()
PORT = env.integer("KINORA_PORT", 8000)
PRODUCTION = env.boolean("KINORA_PRODUCTION", default=False)
SECRETS = None if PRODUCTION else DATA / "secrets"
SOCKETS = places.sockets(DATA)

DEBUG = False
SECRET_KEY = env.secret("KINORA_SECRET_KEY", folder=SECRETS)
SITE_URL = env.text("KINORA_URL", f"http://127.0.0.1:{PORT}")
SITE_HOST = urlsplit(SITE_URL).hostname or "127.0.0.1"
ALLOWED_HOSTS = [SITE_HOST, *([] if PRODUCTION else ["127.0.0.1", "localhost", "[::1]"])]
CSRF_TRUSTED_ORIGINS = [SITE_URL]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_htmx",
    "allauth",
    "allauth.account",
    "rest_framework",
    "drf_spectacular",
    "marketplace",
    "marketplace.accounts",
    "marketplace.catalog",
    "marketplace.ledger",
    "marketplace.metering",
    "marketplace.access",
    "marketplace.media",
    "marketplace.vault",
    "marketplace.fleet",
    "marketplace.webhooks",
    "marketplace.payouts",
    "marketplace.runs",
    "marketplace.pages",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "marketplace.pages.policy.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "marketplace.urls"
ASGI_APPLICATION = "marketplace.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "marketplace.pages.context.site",
            ],
        },
    }
]

# ── PostgreSQL ────────────────────────────────────────────────────────────────────────────────


def embedded_database() -> dict[str, Any]:
    return {
        "NAME": "kinora",
        "USER": "kinora",
        "PASSWORD": env.secret("KINORA_DATABASE_PASSWORD", folder=SECRETS),
        "HOST": str(SOCKETS),
        "PORT": "5432",
    }


def named_database(url: str) -> dict[str, Any]:
    """postgresql://user:password@host:port/name → Django's words."""
    parts = urlsplit(url)
    return {
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or 5432),
    }


DATABASE_URL = env.text("KINORA_DATABASE_URL")
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        **(named_database(DATABASE_URL) if DATABASE_URL else embedded_database()),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,  # the pool outlives a restart of the server
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 8, "timeout": 10}},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ── broker ────────────────────────────────────────────────────────────────────────────────────

BROKER_URL = env.text("KINORA_BROKER_URL")
EMBEDDED_BROKER = not BROKER_URL
if EMBEDDED_BROKER:
    BROKER_URL = f"redis+socket://{quote(str(SOCKETS / 'redis.sock'))}"

# ── media ─────────────────────────────────────────────────────────────────────────────────────

S3_BUCKET = env.text("KINORA_S3_BUCKET")
MEDIA_ROOT = DATA / "media"
STORAGES: dict[str, Any] = {
    "default": {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": S3_BUCKET,
            "endpoint_url": env.text("KINORA_S3_ENDPOINT") or None,
            "default_acl": "private",
            "querystring_auth": True,
        },
    }
    if S3_BUCKET
    else {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(MEDIA_ROOT), "base_url": "/media/"},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
OUTPUT_SECONDS = env.integer("KINORA_OUTPUT_SECONDS", 30 * 24 * 3600)  # how long media is kept
FILE_SECONDS = env.integer("KINORA_FILE_SECONDS", 30 * 24 * 3600)  # the same for teams' files
RECORD_SECONDS = env.integer("KINORA_RECORD_SECONDS", 0)  # what is known of them; 0 is for ever
FILE_BYTES = env.integer("KINORA_FILE_BYTES", 250_000_000)  # largest file of a team
TEAM_FILE_BYTES = env.integer("KINORA_TEAM_FILE_BYTES", 20_000_000_000)  # all of them together
# Addresses on this machine as inputs, for tests on one machine.
ALLOW_LOOPBACK_FETCH = env.boolean("KINORA_ALLOW_LOOPBACK_FETCH", default=False)
if ALLOW_LOOPBACK_FETCH and (PRODUCTION or DATABASE_URL):
    raise ImproperlyConfigured("KINORA_ALLOW_LOOPBACK_FETCH is for the embedded stack only.")
SIGNED_URL_SECONDS = env.integer("KINORA_SIGNED_URL_SECONDS", 3600)

STATIC_URL = "/static/"
STATICFILES_DIRS = [ROOT / "marketplace" / "static"]
STATIC_ROOT = DATA / "static"

# ── people ────────────────────────────────────────────────────────────────────────────────────

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
ACCOUNT_ADAPTER = "marketplace.pages.welcome.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_CHANGE = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_LOGOUT_ON_GET = False
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/runs"
ACCOUNT_LOGOUT_REDIRECT_URL = "/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend"
    if PRODUCTION
    else "django.core.mail.backends.filebased.EmailBackend"
)
EMAIL_FILE_PATH = DATA / "mail"
EMAIL_HOST = env.text("KINORA_SMTP_HOST", "localhost")
EMAIL_PORT = env.integer("KINORA_SMTP_PORT", 25)
DEFAULT_FROM_EMAIL = env.text("KINORA_MAIL_FROM", f"Kinora <hello@{SITE_HOST}>")
WELCOME_CREDIT_NANO = env.integer("KINORA_WELCOME_CREDIT_NANO", 1_000_000_000)
WELCOME_CREDIT_DAYS = env.integer("KINORA_WELCOME_CREDIT_DAYS", 30)
# What the box on the front page may spend a day, at the house's expense.
TRIAL_CREDIT_NANO = env.integer("KINORA_TRIAL_CREDIT_NANO", 100_000_000)

# ── security ──────────────────────────────────────────────────────────────────────────────────

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = PRODUCTION
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# ── management API ────────────────────────────────────────────────────────────────────────────

REST_FRAMEWORK = {  # keys, bodies and errors are those of accounts.api.OpenView and KeyView
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Kinora API",
    "VERSION": "1",
    "DESCRIPTION": "Quote, run, follow and pay for generative-media models with one key.",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "marketplace.dialects.native_files_openapi.add_files",
        "marketplace.dialects.native_openapi.add_runs",
    ],
}
# Requests of one team to one web process: per second and at once; 0 per second is no limit.
RATES = {
    "write": (env.integer("KINORA_WRITES_PER_SECOND", 50), env.integer("KINORA_WRITE_BURST", 500)),
    "read": (env.integer("KINORA_READS_PER_SECOND", 500), env.integer("KINORA_READ_BURST", 5000)),
}
BODY_BYTES = 1_000_000  # largest JSON body
INLINE_BYTES = 16_000_000  # the same with a key on the hot path: 10 MB of files as data: URIs
UNKNOWN_BYTES = 64_000  # of it, before the key is looked up
BODY_DEPTH = 32
# An unfinished request that brings less than so many bytes in so many seconds is given up. One that
# has its answer already may bring so much more, for as long: many clients send all, then listen.
TRICKLE_SECONDS = env.integer("KINORA_TRICKLE_SECONDS", 10)
TRICKLE_BYTES = env.integer("KINORA_TRICKLE_BYTES", 10_000)
TRICKLE_DRAINED = 2 * INLINE_BYTES
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_BYTES

# ── webhooks ──────────────────────────────────────────────────────────────────────────────────

# Deliveries to 127.0.0.1 without TLS, for tests on one machine.
ALLOW_LOOPBACK_WEBHOOKS = env.boolean("KINORA_ALLOW_LOOPBACK_WEBHOOKS", default=False)
if ALLOW_LOOPBACK_WEBHOOKS and (PRODUCTION or DATABASE_URL):
    raise ImproperlyConfigured("KINORA_ALLOW_LOOPBACK_WEBHOOKS is for the embedded stack only.")
# Receivers' secrets are derived from the first; the second signs for those who take our public key.
# The other key is published beside it and signs nothing: the next one, or the one before.
WEBHOOK_IP_RANGES = env.networks("KINORA_WEBHOOK_IP_RANGES")  # where deliveries come from
WEBHOOK_SECRET = env.secret("KINORA_WEBHOOK_SECRET", folder=SECRETS)
WEBHOOK_SIGNING_KEY = env.secret("KINORA_WEBHOOK_SIGNING_KEY", folder=SECRETS)
WEBHOOK_OTHER_KEY = env.optional_secret("KINORA_WEBHOOK_OTHER_KEY")
# Scheme → what renders a run's row and an event into a body; see webhooks/schemes.py.
WEBHOOK_RENDERERS = {
    "standard": "marketplace.runs.told.render",
    "fal": "marketplace.dialects.fal_bodies.render",
    "replicate": "marketplace.dialects.replicate.render",
    "openai": "marketplace.dialects.openai_videos.render",
}

# ── runs ──────────────────────────────────────────────────────────────────────────────────────

LEASE_SECONDS = 15
# Where labs send word of jobs; the public address, unless nobody outside can reach it.
LAB_NOTICES_URL = env.address("KINORA_LAB_NOTICES_URL")
if not LAB_NOTICES_URL and SITE_URL.startswith("https://"):
    LAB_NOTICES_URL = SITE_URL.rstrip("/")
DOOR_URL = env.address("KINORA_DOOR_URL")  # where workers reach this very web process
PRICE_NOTICE_DAYS = env.integer("KINORA_PRICE_NOTICE_DAYS", 14)  # before a price may rise
MAX_ATTEMPTS = 3
STOP_SECONDS = env.integer("KINORA_STOP_SECONDS", 4)  # for what nobody else could end
REFUND_DAYS = env.integer("KINORA_REFUND_DAYS", 60)  # how long a run can be complained of
REFUND_WORKING_DAYS = env.integer("KINORA_REFUND_WORKING_DAYS", 3)  # until a person has answered
# What is still open then is granted up to this amount; above it, it is overdue and shown as such.
REFUND_SMALL_NANO = env.integer("KINORA_REFUND_SMALL_NANO", 1_000_000_000)
REHEARSAL_URL = env.text("KINORA_REHEARSAL_URL", f"http://127.0.0.1:{PORT + 1}")

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.text("KINORA_LOG", "INFO")},
    # Two lines for every hint would say less than they cost.
    "loggers": {
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
