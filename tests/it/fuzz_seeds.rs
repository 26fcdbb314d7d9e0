//! The seeds of the fuzz targets, each against the promises of its target. `fuzz/run` looks for more of them.

use std::{fs, panic, path::Path};

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "public in the crate whose root it is")]
mod properties;

#[test]
fn every_seed_of_client_id() {
    every_seed("client_id", properties::client_id);
}

#[test]
fn every_seed_of_document() {
    every_seed("document", properties::document);
}

#[test]
fn every_seed_of_http_cache() {
    every_seed("http_cache", properties::http_cache);
}

#[test]
fn every_seed_of_key_set() {
    every_seed("key_set", properties::key_set);
}

#[test]
fn every_seed_of_media_type() {
    every_seed("media_type", properties::media_type);
}

#[test]
fn every_seed_of_redirect_uri() {
    every_seed("redirect_uri", properties::redirect_uri);
}

#[test]
fn every_seed_of_client_assertion() {
    every_seed("client_assertion", properties::client_assertion);
}

#[test]
fn every_seed_of_dpop() {
    every_seed("dpop", properties::dpop);
}

#[test]
fn every_seed_of_jws() {
    every_seed("jws", properties::jws);
}

#[test]
fn every_seed_of_params() {
    every_seed("params", properties::params);
}

/// Names the files that break a promise; which one, the panics before say.
fn every_seed(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut seeds: Vec<_> = files
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect();
    seeds.sort();
    assert!((1..=80).contains(&seeds.len()), "few enough to be read");
    assert!(seeds.iter().map(|(_, data)| data.len()).sum::<usize>() <= 200_000);
    let breaks = |data: &[u8]| panic::catch_unwind(|| check(data)).is_err();
    let broken: Vec<_> = seeds.iter().filter(|(_, data)| breaks(data)).collect();
    let names: Vec<_> = broken.iter().map(|(file, _)| file.display()).collect();
    assert!(names.is_empty(), "{names:?}");
}
