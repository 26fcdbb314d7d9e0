# Wayleave in one image: SQLite in the volume /data unless WAYLEAVE_DATABASE__URL says otherwise.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin wayleave

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 65532 --home-dir /data --shell /usr/sbin/nologin wayleave \
    && mkdir /data && chown wayleave /data
COPY --from=build /src/target/release/wayleave /usr/local/bin/wayleave
USER wayleave
WORKDIR /data
VOLUME /data
EXPOSE 8080
ENV WAYLEAVE_SERVER__LISTEN=0.0.0.0:8080 WAYLEAVE_DATABASE__URL=sqlite:/data/wayleave.db
ENTRYPOINT ["wayleave"]
CMD ["serve"]
