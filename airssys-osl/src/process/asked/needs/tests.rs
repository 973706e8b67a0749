use super::{super::Call, *};

const SEE: Access = Access::SEE;
const READ: Access = Access::READ;
const WRITE: Access = Access::WRITE;
const MAKE: Access = Access::MAKE;

type Name<'a> = (&'a str, Access, Was);

fn asked(names: &[Name<'_>]) -> Asked {
    let mut asked = Asked { start: "/tmp".into(), ..Asked::default() };
    for (path, access, was) in names {
        let path = PathBuf::from(path);
        let beneath = path.parent().unwrap().to_owned();
        let wish = Wish { access: *access, was: *was, real: None, beneath, relative: false };
        asked.add(path, wish);
    }
    asked
}

fn from(start: &str, asked: &Asked) -> Asked {
    Asked { start: start.into(), ..asked.clone() }
}

fn lists(needs: &Needs) -> (Vec<&str>, Vec<&str>) {
    (texts(&needs.see), texts(&needs.change))
}

fn texts(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|path| path.to_str().unwrap()).collect()
}

#[track_caller]
fn check(names: &[Name<'_>], see: &[&str], change: &[&str]) {
    let needs = asked(names).needs(false);
    assert_eq!(lists(&needs), (see.to_vec(), change.to_vec()));
}

#[test]
fn what_is_read_is_seen_and_what_is_changed_is_changed() {
    check(&[("/srv/a", READ, Was::File)], &["/srv/a"], &[]);
    check(&[("/srv/a", READ | WRITE, Was::File)], &[], &["/srv/a"]);
    check(&[("/srv/a", Access::EXECUTE, Was::File)], &["/srv/a"], &[]);
    check(&[("/srv", READ, Was::Directory), ("/srv/a", READ, Was::File)], &["/srv"], &[]);
    check(&[("/srv", READ, Was::Directory), ("/srv/a", WRITE, Was::File)], &["/srv"], &["/srv/a"]);
    check(&[("/srv", SEE, Was::Directory), ("/srv/a", READ, Was::File)], &["/srv/a"], &[]);
    check(&[("/srv", SEE, Was::Directory)], &["/srv"], &[]);
    let crowd: Vec<String> = (0..40).map(|number| format!("/tmp/f{number}")).collect();
    let crowd: Vec<Name<'_>> = crowd.iter().map(|name| (&**name, READ, Was::File)).collect();
    assert_eq!(asked(&crowd).needs(false).see.len(), 40);
    check(&[("/run/x/socket", SEE, Was::Other)], &["/run/x"], &[]);
}

#[test]
fn what_is_not_there_needs_nothing_until_it_is_made() {
    check(&[("/srv/a", READ, Was::Missing)], &[], &[]);
    check(&[("/srv/a", Access::REMOVE, Was::Missing)], &[], &[]);
    check(&[("/srv/a", WRITE | MAKE, Was::Missing)], &[], &["/srv"]);
    check(&[("/srv/a", WRITE | MAKE, Was::File)], &[], &["/srv/a"]);
    check(&[("/srv/a", Access::REMOVE, Was::File)], &[], &["/srv"]);
    // What it makes in its own directories lies where the first of them was made.
    check(
        &[
            ("/srv/a", MAKE, Was::Missing),
            ("/srv/a/b", MAKE, Was::Missing),
            ("/srv/a/b/c", MAKE, Was::Missing),
        ],
        &[],
        &["/srv"],
    );
    check(&[("/tmp/a", MAKE, Was::Missing), ("/tmp/b/c", READ, Was::File)], &["/tmp/b/c"], &[]);
}

#[test]
fn what_every_program_has_and_what_none_can_have_is_not_needed() {
    for path in ["/usr/lib/x", "/etc/ssl/x", "/dev/tty", "/proc/cpuinfo", "/sys/x", "/lib64/x"] {
        check(&[(path, READ, Was::File)], &[], &[]);
    }
    let needs = asked(&[("/new", MAKE, Was::Missing)]).needs(false);
    assert_eq!((lists(&needs), texts(&needs.missing)), ((vec![], vec![]), vec!["/"]));
    let resolver = asked(&[("/etc/hosts", READ, Was::File)]);
    assert_eq!(resolver.wants(true), []);
    assert_eq!(resolver.wants(false).len(), 1);
}

#[test]
fn many_files_are_named_by_their_directory() {
    let names = |count: usize, directories: usize| -> Vec<String> {
        let name = |number| format!("/srv/d{}/f{number}", number % directories);
        (0..count).map(name).collect()
    };
    let few = names(OF_ONE_DIRECTORY, 1);
    let few: Vec<Name<'_>> = few.iter().map(|name| (&**name, READ, Was::File)).collect();
    assert_eq!(asked(&few).needs(false).see.len(), OF_ONE_DIRECTORY);
    let many = names(OF_ONE_DIRECTORY + 1, 1);
    let many: Vec<Name<'_>> = many.iter().map(|name| (&**name, READ, Was::File)).collect();
    check(&many, &["/srv/d0"], &[]);
    // Nobody may change a file for its neighbours' sake.
    let changed = [("/srv/d0/changed", WRITE, Was::File)];
    check(&[&many[..], &changed].concat(), &["/srv/d0"], &["/srv/d0/changed"]);
    for directories in [5, 30, 70, 3000] {
        let most = names(3000, directories);
        let most: Vec<Name<'_>> = most.iter().map(|name| (&**name, READ, Was::File)).collect();
        let needs = asked(&most).needs(false);
        let seen = |path: &str| needs.see.iter().any(|place| Path::new(path).starts_with(place));
        assert!(needs.see.len() <= PROGRAM_PLACES && most.iter().all(|(path, ..)| seen(path)));
    }
}

#[test]
fn a_link_that_is_seen_leads_to_what_is_seen() {
    let mut asked = asked(&[("/srv", READ, Was::Directory), ("/srv/link", READ, Was::File)]);
    asked.files.get_mut(Path::new("/srv/link")).unwrap().real = Some("/opt/x".into());
    assert_eq!(lists(&asked.needs(false)).0, ["/opt/x", "/srv"]);
    // One that is named itself is what it leads to.
    asked.files.remove(Path::new("/srv"));
    assert_eq!(lists(&asked.needs(false)).0, ["/srv/link"]);
}

#[test]
fn where_it_was_started_is_needed_where_it_goes_on_from_there() {
    let mut asked = asked(&[("/srv/a/b", READ, Was::File), ("/opt/x", READ, Was::File)]);
    assert_eq!(from("/srv", &asked).needs(false).directory, None);
    asked.files.get_mut(Path::new("/srv/a/b")).unwrap().relative = true;
    let needs = from("/srv", &asked).needs(false);
    assert_eq!(
        (lists(&needs).0, needs.directory.as_deref()),
        (vec!["/opt/x", "/srv/a/b"], Some(Path::new("/srv")))
    );
    // From there something elsewhere was reached.
    let needs = from("/home/u", &asked).needs(false);
    assert_eq!(lists(&needs).0, ["/opt/x", "/srv/a/b", "/home/u"]);
    assert_eq!(from("/", &asked).needs(false).directory.as_deref(), Some(Path::new("/")));
}

#[test]
fn that_it_looks_at_where_it_was_started_is_no_need() {
    let mut asked = asked(&[("/home/u", SEE, Was::Directory), ("/home", SEE, Was::Directory)]);
    asked.files.values_mut().for_each(|wish| wish.relative = true);
    assert_eq!(from("/home/u", &asked).needs(false), Needs::default());
    asked.files.get_mut(Path::new("/home/u")).unwrap().access |= READ;
    let needs = from("/home/u", &asked).needs(false);
    assert_eq!((lists(&needs).0, needs.directory.as_deref()), (vec!["/home/u"], Some(Path::new("/home/u"))));
}

#[test]
fn who_executes_what_it_changes_builds() {
    let names = [("/srv", WRITE | READ, Was::Directory), ("/srv/a", Access::EXECUTE, Was::File)];
    assert!(asked(&names).needs(false).builds);
    assert!(!asked(names.get(1..).unwrap()).needs(false).builds);
    let made = [("/srv/a", Access::EXECUTE | MAKE, Was::Missing)];
    assert!(asked(&made).needs(false).builds);
    let searched = [("/srv/a", Access::EXECUTE, Was::Missing)];
    assert!(!asked(&searched).needs(false).builds);
}

#[test]
fn names_are_bounded_and_folded_in_no_time() {
    let mut asked = asked(&[]);
    let wish = |beneath: &str| Wish {
        access: READ,
        was: Was::File,
        real: None,
        beneath: beneath.into(),
        relative: false,
    };
    for number in 0..20_000 {
        let directory = format!("/srv/{}", number % 5000);
        asked.add(format!("{directory}/{number}").into(), wish(&directory));
    }
    assert_eq!((asked.files.len(), asked.missed), (16 * 1024, 20_000 - 16 * 1024));
    assert_eq!(lists(&asked.needs(false)).0, ["/srv"]);
    let long = "x".repeat(4000);
    let mut few = self::asked(&[]);
    for number in 0..2000 {
        few.add(format!("/{long}/{number}").into(), wish("/"));
    }
    assert!(few.files.len() < 1100 && few.missed > 900, "{}", few.files.len());
}

#[test]
fn calls_are_bounded_and_counted() {
    let mut asked = asked(&[]);
    for number in (0..16 * 1024 + 5).chain([0]) {
        asked.add_call(Call { number, name: None, foreign: true });
    }
    assert_eq!((asked.calls.len(), asked.missed), (16 * 1024, 5));
    assert_eq!(asked.calls.first_key_value().map(|(_, count)| *count), Some(2));
}

#[test]
fn what_names_lead_to_is_bounded_too() {
    let mut asked = asked(&[]);
    let long = PathBuf::from(format!("/{}", "x".repeat(4000)));
    for number in 0..1000 {
        let wish = Wish {
            access: READ,
            was: Was::File,
            real: Some(long.clone()),
            beneath: long.clone(),
            relative: false,
        };
        asked.add(format!("/{number}").into(), wish);
    }
    assert!(asked.files.len() < 550 && asked.missed > 450, "{}", asked.files.len());
}
