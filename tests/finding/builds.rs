//! Executables and libraries of every build, and what may become of their files.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{
    Interpreter, Script, alone, application, has_program, interpreters, newest, skip,
};
use crate::seen::assert_standing;

/// Debian's interpreter: one file, not relocatable, stripped, with exported symbols.
const WHOLE: &str = "/usr/bin/python3.11";

/// A command that runs `standing.py`.
fn standing(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.arg(application("standing.py"));
    command
}

/// What a version's own `sysconfig` says, and where it lies.
struct Installed {
    prefix: PathBuf,
    executable: PathBuf,
    /// Its shared library, where it has one.
    library: Option<PathBuf>,
    static_library: Option<PathBuf>,
    /// Arguments for the compiler: where the headers are, and what static linking needs.
    headers: String,
    libraries: Vec<String>,
}

impl Installed {
    fn of(interpreter: &Interpreter) -> Self {
        let program = "import os, sys, sysconfig as s, json; g = s.get_config_var\n\
            a = os.path.join(g('LIBPL'), g('LIBRARY'))\n\
            so = os.path.join(g('LIBDIR'), g('INSTSONAME') or '')\n\
            is_file = lambda path: path if os.path.isfile(path) else None\n\
            maps = open('/proc/self/maps').read()\n\
            print(json.dumps([sys.base_prefix, os.path.realpath(sys.executable),\n\
            is_file(so) if so in maps else None, is_file(a), s.get_path('include'),\n\
            (g('LIBS') + ' ' + g('SYSLIBS')).split()]))";
        let output = Command::new(&interpreter.python).args(["-c", program]).output();
        let output = output.expect("the interpreter starts").stdout;
        let (prefix, executable, library, static_library, headers, libraries) =
            serde_json::from_slice(&output).expect("JSON");
        Self { prefix, executable, library, static_library, headers, libraries }
    }
}

#[test]
fn a_renamed_executable_without_section_headers() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let own = folder.path().join("myapp");
    if std::fs::copy(WHOLE, &own).is_err() {
        return skip(&format!("{WHOLE} not found"));
    }
    without_section_headers(&own);
    assert_standing(&Script::spawn(standing(&own)));
}

#[test]
fn an_executable_reached_through_links_and_by_the_dynamic_linker() {
    let _alone = alone();
    let Some(interpreter) = newest() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let link = folder.path().join("service");
    symlink(&interpreter.python, &link).expect("a temporary folder");
    assert_standing(&Script::spawn(standing(&link)));

    let Installed { executable, prefix, .. } = Installed::of(&interpreter);
    let bytes = std::fs::read(&executable).expect("it was just started");
    let elf = goblin::elf::Elf::parse(&bytes).expect("an executable");
    let linker = elf.interpreter.expect("it is linked dynamically");
    for name in ["python", "service"] {
        let copy = folder.path().join(format!("{name}-copy"));
        std::fs::copy(&executable, &copy).expect("a temporary folder");
        let mut command = Command::new(linker);
        command.arg(copy).arg(application("standing.py")).env("PYTHONHOME", &prefix);
        assert_standing(&Script::spawn(command));
    }
}

/// Runs an interpreter of which all files are copies, as `myapp` and `libmine.so`, does
/// something to the copies while it runs, and checks that it is read all the same.
fn with_own_copies(interpreter: &Interpreter, meddle: impl Fn(&[PathBuf])) {
    let installed = Installed::of(interpreter);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut files = vec![folder.path().join("myapp")];
    std::fs::copy(&installed.executable, &files[0]).expect("a temporary folder");
    let mut command = standing(&files[0]);
    command.env("PYTHONHOME", &installed.prefix);
    if let Some(library) = &installed.library {
        let copy = folder.path().join(library.file_name().expect("a file"));
        std::fs::copy(library, &copy).expect("a temporary folder");
        command.env("LD_LIBRARY_PATH", folder.path());
        files.push(copy);
    }
    let script = Script::spawn(command);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", script.pid())).expect("it runs");
    for file in &files {
        assert!(maps.contains(file.to_str().expect("UTF-8")), "it does not run {file:?}: {maps}");
    }
    meddle(&files);
    assert_standing(&script);
}

#[test]
fn files_deleted_or_replaced_after_the_start() {
    let _alone = alone();
    for interpreter in interpreters() {
        with_own_copies(&interpreter, |files| {
            for file in files {
                std::fs::remove_file(file).expect("it was there");
            }
        });
        // An upgrade: another version's file is put in its place.
        with_own_copies(&interpreter, |files| {
            for file in files {
                let other = file.with_extension("new");
                std::fs::copy(WHOLE, &other).expect("a temporary folder");
                std::fs::rename(&other, file).expect("a temporary folder");
            }
        });
    }
}

/// Builds `embed.c` with these arguments after the usual ones.
fn embedder(installed: &Installed, path: &Path, arguments: &[&OsStr]) {
    let mut command = Command::new("gcc");
    command.arg("-I").arg(&installed.headers).arg(application("embed.c")).arg("-o").arg(path);
    command.args(arguments).args(&installed.libraries).args(["-lm", "-lpthread"]);
    let output = command.output().expect("gcc starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn strip(path: &Path) {
    let status = Command::new("strip").arg(path).status().expect("strip starts");
    assert!(status.success());
}

/// Takes the section headers out: e_shoff, and e_shnum with e_shstrndx (`Elf64_Ehdr`).
fn without_section_headers(path: &Path) {
    let mut bytes = std::fs::read(path).expect("it was built");
    bytes[40..48].fill(0);
    bytes[60..64].fill(0);
    std::fs::write(path, bytes).expect("our own file");
}

fn embedding(path: &Path, installed: &Installed) -> Script {
    let mut command = standing(path);
    command.env("PYTHONHOME", &installed.prefix);
    Script::spawn(command)
}

#[test]
fn an_interpreter_inside_a_program_that_exports_nothing() {
    let _alone = alone();
    if !has_program("gcc") || !has_program("strip") {
        return;
    }
    for interpreter in interpreters() {
        let installed = Installed::of(&interpreter);
        let Some(archive) = &installed.static_library else { continue };
        let folder = tempfile::tempdir().expect("a temporary folder");
        for kind in ["-pie", "-no-pie"] {
            let own = folder.path().join("myapp");
            embedder(&installed, &own, &[kind.as_ref(), archive.as_ref()]);
            assert_standing(&embedding(&own, &installed));
            // Up to 3.9 there is no section of its own: nothing says where it is.
            strip(&own);
            assert_standing(&embedding(&own, &installed));
            without_section_headers(&own);
            assert_standing(&embedding(&own, &installed));
        }
    }
}

#[test]
fn an_interpreter_in_a_library_of_any_name() {
    let _alone = alone();
    if !has_program("gcc") {
        return;
    }
    for interpreter in interpreters() {
        let installed = Installed::of(&interpreter);
        let Some(library) = &installed.library else { continue };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (own, copy) = (folder.path().join("myapp"), folder.path().join("engine.so"));
        std::fs::copy(library, &copy).expect("a temporary folder");
        let name = library.file_name().expect("a file").to_string_lossy().into_owned();
        // The name that the library gives itself is what the program will look for.
        let here = folder.path().join(&name);
        symlink(&copy, &here).expect("a temporary folder");
        let mut runpath = std::ffi::OsString::from("-Wl,-rpath,");
        runpath.push(folder.path());
        embedder(&installed, &own, &[here.as_os_str(), &runpath]);
        let script = embedding(&own, &installed);
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", script.pid()));
        assert!(!maps.expect("it runs").contains("libpython"));
        assert_standing(&script);
        drop(script);
    }
}

#[test]
fn an_interpreter_that_is_mapped_a_second_time() {
    let _alone = alone();
    // As trampolines of foreign functions do, and whoever reads its own program: below and
    // above the first place, with and without the right to execute.
    let program = "import ctypes, mmap, sys, runpy\n\
        own = [line.split()[-1] for line in open('/proc/self/maps')\n\
            if 'libpython' in line or '/python3' in line.split()[-1]]\n\
        files = [open(path, 'rb') for path in set(own)]\n\
        kept = [mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=prot)\n\
            for file in files for prot in (mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_EXEC)]\n\
        callback = ctypes.CFUNCTYPE(None)(print)\n\
        assert kept\n\
        runpy.run_path(sys.argv[1], run_name='__main__')";
    for interpreter in interpreters() {
        let mut command = Command::new(&interpreter.python);
        command.args(["-c", program]).arg(application("standing.py"));
        assert_standing(&Script::spawn(command));
    }
}

#[test]
fn a_deleted_library_for_who_is_not_root() {
    let _alone = alone();
    if !nix::unistd::geteuid().is_root() || !has_program("setpriv") {
        return skip("only root can become another user");
    }
    if !has_program("gcc") || !Path::new(WHOLE).exists() {
        return skip(&format!("{WHOLE} not found"));
    }
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), everyone).expect("our own folder");
    let library = "libpython3.11.so.1.0";
    let original = Path::new("/usr/lib/x86_64-linux-gnu").join(library);
    if !original.exists() || !Path::new("/usr/include/python3.11/Python.h").exists() {
        return skip("Debian's libpython3.11-dev not found");
    }
    for (from, name) in [
        (&*original, library),
        (Path::new(crate::common::farrier_path()), "farrier"),
        (&application("standing.py"), "standing.py"),
    ] {
        std::fs::copy(from, folder.path().join(name)).expect("a temporary folder");
    }
    let (own, copy) = (folder.path().join("myapp"), folder.path().join(library));
    let installed = Installed {
        prefix: "/usr".into(),
        executable: WHOLE.into(),
        library: Some(original),
        static_library: None,
        headers: "/usr/include/python3.11".into(),
        libraries: Vec::new(),
    };
    let mut runpath = std::ffi::OsString::from("-Wl,-rpath,");
    runpath.push(folder.path());
    embedder(&installed, &own, &[copy.as_os_str(), &runpath]);
    let as_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(as_nobody).arg(&own).arg(folder.path().join("standing.py"));
    let script = Script::spawn(command);
    std::fs::remove_file(&copy).expect("it was there");

    let mut farrier = Command::new("setpriv");
    let pid = script.pid().to_string();
    farrier.args(as_nobody).arg(folder.path().join("farrier"));
    farrier.args(["record", "-d", "0.5", "-f", "json", "-o", "-", "-p", &pid]);
    let outcome = crate::common::Outcome::of(farrier).success();
    let summary: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(summary["processes"][0]["threads"], 4, "{summary:#}");
    let functions = summary["functions"].as_array().expect("a list");
    assert!(functions.iter().any(|entry| entry["function"] == "spin"), "{summary:#}");
}
