"""A Django project in one file whose people sign in by mozilla-django-oidc."""

import os
from importlib.metadata import version
from pathlib import Path

from django.conf import settings

issuer = os.environ["ISSUER"]

settings.configure(
    DEBUG=True,
    SECRET_KEY="a secret of the tests, which signs nothing of worth",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["localhost"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(os.environ["FOLDER"]) / "db"}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "mozilla_django_oidc",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    AUTHENTICATION_BACKENDS=[__name__ + ".Backend"],
    LOGIN_URL="oidc_authentication_init",
    LOGIN_REDIRECT_URL="/",
    OIDC_RP_CLIENT_ID=os.environ["CLIENT_ID"],
    OIDC_RP_CLIENT_SECRET=os.environ["CLIENT_SECRET"],
    OIDC_RP_SCOPES="openid profile email",
    # Its default is HS256, with the client's secret as the key.
    OIDC_RP_SIGN_ALGO="RS256",
    # It reads no metadata.
    OIDC_OP_AUTHORIZATION_ENDPOINT=issuer + "/authorize",
    OIDC_OP_TOKEN_ENDPOINT=issuer + "/token",
    OIDC_OP_USER_ENDPOINT=issuer + "/userinfo",
    OIDC_OP_JWKS_ENDPOINT=issuer + "/jwks",
)

import django  # noqa: E402: after the settings

django.setup()

from django.contrib.auth.decorators import login_required  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from mozilla_django_oidc.auth import OIDCAuthenticationBackend  # noqa: E402


class Backend(OIDCAuthenticationBackend):
    """Keeps what it learned; of itself it keeps the e-mail address."""

    def create_user(self, claims):
        self.request.session["claims"] = claims
        return super().create_user(claims)


@login_required
def home(request):
    program = "mozilla-django-oidc " + version("mozilla-django-oidc")
    return JsonResponse(
        {"program": program, "user": {"email": request.user.email}, "userinfo": request.session["claims"]}
    )


urlpatterns = [path("", home), path("oidc/", include("mozilla_django_oidc.urls"))]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    call_command("runserver", "localhost:" + os.environ["PORT"], "--noreload")
