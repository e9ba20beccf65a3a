//! The parts of the tests' own code that the fuzzer needs.

#[path = "../../tests/common/counted.rs"]
pub(crate) mod counted;
#[path = "../../tests/common/fuzz.rs"]
pub(crate) mod fuzz;
#[path = "../../tests/common/objects.rs"]
pub(crate) mod objects;
#[path = "../../tests/common/saved.rs"]
pub(crate) mod saved;

/// Which versions the tests know does not matter here.
pub(crate) mod interpreters {
    pub(crate) const VERSIONS: [&str; 0] = [];
}
