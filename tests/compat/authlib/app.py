"""A Flask app with Authlib's registry of clients, as its documentation has it."""

import os
from importlib.metadata import version

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, session, url_for

app = Flask(__name__)
app.secret_key = "a secret of the tests, which signs nothing of worth"
oauth = OAuth(app)
oauth.register(
    "wayleave",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    server_metadata_url=os.environ["ISSUER"] + "/.well-known/openid-configuration",
    client_kwargs={"scope": "openid profile email"},
)


@app.route("/")
def home():
    if "who" not in session:
        return oauth.wayleave.authorize_redirect(url_for("callback", _external=True))
    return {"program": "Authlib " + version("authlib"), **session["who"]}


@app.route("/callback")
def callback():
    token = oauth.wayleave.authorize_access_token()
    userinfo = oauth.wayleave.userinfo(token=token)
    session["who"] = {"id_token": dict(token["userinfo"]), "userinfo": dict(userinfo)}
    return redirect("/")


app.run(host="localhost", port=int(os.environ["PORT"]))
