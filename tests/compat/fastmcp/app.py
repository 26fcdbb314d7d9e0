"""An MCP server of FastMCP that is a protected resource."""

import os
from importlib.metadata import version

from fastmcp import FastMCP
from fastmcp.server.auth import RemoteAuthProvider
from fastmcp.server.auth.providers.jwt import JWTVerifier
from pydantic import AnyHttpUrl

issuer = os.environ["ISSUER"]
port = int(os.environ["PORT"])

verifier = JWTVerifier(
    jwks_uri=issuer + "/jwks",
    issuer=issuer,
    audience=os.environ["RESOURCE"],
    # One algorithm; its default is RS256.
    algorithm="ES256",
    required_scopes=["notes.read"],
)
auth = RemoteAuthProvider(
    token_verifier=verifier,
    authorization_servers=[AnyHttpUrl(issuer)],
    base_url=f"http://localhost:{port}",
)
FastMCP("FastMCP " + version("fastmcp"), auth=auth).run(transport="http", host="localhost", port=port)
