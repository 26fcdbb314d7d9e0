# Wayleave in one image: SQLite in the volume /data (wayleave-data/wayleave.db) unless WAYLEAVE_DATABASE__URL, or
# WAYLEAVE_DATABASE__URL_FILE, says otherwise. /data/wayleave.toml is read if it is there. The root file system may be
# read-only, and no capability is needed.
#
#   docker build -t wayleave --build-arg COMMIT="$(git rev-parse --short=12 HEAD)" .
#   (podman and buildah: --format docker, else HEALTHCHECK is left out)
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# Empty: wayleave --version has no commit.
ARG COMMIT=
# What was compiled is kept between builds, beside the layers.
RUN --mount=type=cache,id=wayleave-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=wayleave-target,target=/src/target \
    WAYLEAVE_COMMIT="$COMMIT" cargo build --release --locked --bin wayleave \
    && cp target/release/wayleave /usr/local/bin/wayleave \
    && install -d /out/man /out/bash /out/zsh /out/fish \
    && wayleave man --out /out/man \
    && wayleave completions bash > /out/bash/wayleave \
    && wayleave completions zsh > /out/zsh/_wayleave \
    && wayleave completions fish > /out/fish/wayleave.fish

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    && groupadd --system --gid 65532 wayleave \
    && useradd --system --uid 65532 --gid wayleave --home-dir /data --no-create-home --shell /usr/sbin/nologin wayleave \
    && install -d -o wayleave -g wayleave -m 750 /data
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/wayleave/
COPY --from=build /usr/local/bin/wayleave /usr/local/bin/wayleave
COPY --from=build /out/man /usr/local/share/man/man1
COPY --from=build /out/bash /usr/share/bash-completion/completions
COPY --from=build /out/zsh /usr/local/share/zsh/site-functions
COPY --from=build /out/fish /usr/share/fish/vendor_completions.d
# By number: Kubernetes' runAsNonRoot cannot read a name.
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
# The database's URL is not set here: it and its …_FILE exclude each other.
ENV WAYLEAVE_SERVER__LISTEN=0.0.0.0:8080
# The server drains for 25 seconds when it is told to stop: give it 40 (stop_grace_period, --stop-timeout).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 CMD ["wayleave", "healthcheck"]
ENTRYPOINT ["wayleave"]
CMD ["serve"]
ARG COMMIT=
ARG VERSION=0.1.0
# Where the sources of this build are.
ARG SOURCE=
LABEL org.opencontainers.image.title="Wayleave" \
      org.opencontainers.image.description="An OAuth 2.1 authorization server whose clients need no registration: a client_id is the URL of a document" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
