//! Numbers of the world and what is said about them.

use super::*;

fn number(text: &str) -> FaxNumber {
    text.parse().unwrap()
}

fn country(text: &str) -> CountryCode {
    text.parse().unwrap()
}

fn entry(prefix: &str, ruling: Ruling) -> Entry {
    Entry {
        prefix: prefix.parse().unwrap(),
        ruling,
        reason: format!("because of {prefix}"),
        by: "user:anna".into(),
        at: Timestamp::UNIX_EPOCH,
    }
}

fn opened(range: Range) -> Opened {
    Opened { range, reason: "we need it".into(), by: "user:anna".into(), at: Timestamp::UNIX_EPOCH }
}

#[test]
fn ranges_by_default() {
    use Range::{Abroad, Home, OtherPlusOne, Premium, Satellite, SharedCost, TollFree};
    let cases = [
        ("1", "+12125550100", Home),
        ("1", "+16135550100", Home), // Ottawa
        ("1", "+18005550100", TollFree),
        ("1", "+18335550100", TollFree),
        ("1", "+19005550100", Premium),
        ("1", "+12129765501", Premium),
        ("1", "+18765550100", OtherPlusOne), // Jamaica
        ("1", "+16585550100", OtherPlusOne),
        ("1", "+12425550100", OtherPlusOne), // Bahamas
        ("1", "+17875550100", OtherPlusOne), // Puerto Rico
        ("1", "+4930123456", Abroad),
        ("1", "+44800555010", Abroad), // somebody else's toll-free
        ("1", "+44906555010", Premium),
        ("1", "+447055501000", Premium),
        ("1", "+447911123456", Abroad),
        ("1", "+881612345678", Satellite), // Iridium
        ("1", "+870773123456", Satellite), // Inmarsat
        ("1", "+979123456789", Premium),
        ("1", "+80812345678", SharedCost),
        ("49", "+4930123456", Home),
        ("49", "+498001234567", TollFree),
        ("49", "+4990012345678", Premium),
        ("49", "+4918012345678", SharedCost),
        ("49", "+493712345678", Home), // Chemnitz, beside +49 137
        ("49", "+12125550100", Abroad),
        ("49", "+18765550100", OtherPlusOne),
        ("44", "+441632960001", Home),
        ("44", "+448001111", TollFree),
        ("44", "+448451234567", SharedCost),
        ("33", "+33155501000", Home),
        ("33", "+33800555010", TollFree),
        ("33", "+33899555010", Premium),
        ("353", "+35315550100", Home),
        ("61", "+61190055501", Premium),
        ("61", "+61291234567", Home),
    ];
    for (home, to, range) in cases {
        assert_eq!(ranges::of(&country(home), &number(to)).0, range, "{to} at home in {home}");
        let verdict = verdict(&country(home), &Rules::default(), &number(to), Reach::Line);
        let expected = match range {
            Home | TollFree => Verdict::Allowed(Grounds::Open(range)),
            closed => Verdict::Blocked(Block::Closed(closed)),
        };
        assert_eq!(verdict, expected, "{to} at home in {home}");
    }
}

#[test]
fn emergency_numbers_are_never_dialled_by_any_route() {
    let rules = Rules { open: Range::ALL.map(opened).to_vec(), entries: vec![entry("+1911", Ruling::Allow)] };
    let refused = [
        "+19115550100",
        "+1911911",
        "+11255501000",
        "+353112",
        "+420112",
        "+852999",
        "+44999123456",
        "+49110123456",
        "+61000123",
        "+112112",
        "+999123456",
        "+000123",
    ];
    for to in refused {
        for reach in [Reach::House, Reach::Line] {
            let verdict = verdict(&country("1"), &rules, &number(to), reach);
            assert_eq!(verdict, Verdict::Blocked(Block::Emergency), "{to} {reach:?}");
        }
    }
    let allowed = [
        "+911123456789", // New Delhi
        "+33155501000",  // Paris, beside 15
        "+81118555010",  // Sapporo, beside 118
        "+861012345678", // Beijing, beside 101
        "+19125550100",
        "+12119115501",
    ];
    for to in allowed {
        let verdict = verdict(&country("1"), &rules, &number(to), Reach::Line);
        assert!(matches!(verdict, Verdict::Allowed(_)), "{to}: {verdict:?}");
    }
    // What a person types as 911 or 112 is no fax number at all.
    for short in ["911", "112", "999", "9-1-1", "+1911"] {
        assert!(FaxNumber::parse(short, &country("1")).is_err(), "{short}");
    }
}

#[test]
fn lists_count_by_their_longest_entry_and_open_no_more_than_they_name() {
    use Ruling::{Allow, Block as Blocks};
    let listed = |verdict: &Verdict| match verdict {
        Verdict::Allowed(Grounds::Listed(prefix, _)) => Some((true, prefix.to_string())),
        Verdict::Blocked(Block::Listed(prefix, _)) => Some((false, prefix.to_string())),
        _ => None,
    };
    let allowed = |prefix: &str| Some((true, prefix.to_owned()));
    let blocked = |prefix: &str| Some((false, prefix.to_owned()));
    let cases = [
        (vec![("+44", Allow)], "+441632960001", allowed("+44")),
        (vec![("+44", Allow)], "+44906555010", None),
        (vec![("+449", Allow)], "+44906555010", allowed("+449")),
        (vec![("+44906555010", Allow)], "+44906555010", allowed("+44906555010")),
        (vec![("+88", Allow)], "+881612345678", None),
        (vec![("+881", Allow)], "+881612345678", allowed("+881")),
        (vec![("+1", Allow)], "+18765550100", None),
        (vec![("+1876", Allow)], "+18765550100", allowed("+1876")),
        (vec![("+1", Allow)], "+12129765501", None),
        (vec![("+1212", Blocks)], "+12125550100", blocked("+1212")),
        (vec![("+1212", Blocks), ("+12125550100", Allow)], "+12125550100", allowed("+12125550100")),
        (vec![("+1212", Allow), ("+12125550100", Blocks)], "+12125550100", blocked("+12125550100")),
        (vec![("+49", Allow), ("+4930", Blocks)], "+4989123456", allowed("+49")),
        (vec![("+49", Allow), ("+4930", Blocks)], "+4930123456", blocked("+4930")),
        (vec![("+44", Allow)], "+12125550100", None),
    ];
    for (entries, to, expected) in cases {
        let entries = entries.iter().map(|(prefix, ruling)| entry(prefix, *ruling)).collect();
        let rules = Rules { open: Vec::new(), entries };
        let verdict = verdict(&country("1"), &rules, &number(to), Reach::Line);
        assert_eq!(listed(&verdict), expected, "{to} with {:?}", rules.entries);
    }
}

#[test]
fn what_costs_nothing_minds_only_what_was_blocked_and_a_test_minds_nothing() {
    let rules = Rules { open: Vec::new(), entries: vec![entry("+4930", Ruling::Block)] };
    let home = country("1");
    let judge = |to, reach| verdict(&home, &rules, &number(to), reach);
    assert_eq!(judge("+4989123456", Reach::House), Verdict::Allowed(Grounds::NothingSpent));
    assert!(matches!(judge("+4930123456", Reach::House), Verdict::Blocked(Block::Listed(..))));
    assert_eq!(judge("+4930123456", Reach::Script), Verdict::Allowed(Grounds::NobodyCalled));
    assert_eq!(judge("+4989123456", Reach::Line), Verdict::Blocked(Block::Closed(Range::Abroad)));
}

#[test]
fn an_opened_range_is_open_and_no_other() {
    let rules = Rules { open: vec![opened(Range::Abroad)], entries: Vec::new() };
    let judge = |to| verdict(&country("1"), &rules, &number(to), Reach::Line);
    assert_eq!(judge("+4930123456"), Verdict::Allowed(Grounds::Open(Range::Abroad)));
    assert_eq!(judge("+4990012345678"), Verdict::Blocked(Block::Closed(Range::Premium)));
    assert_eq!(judge("+18765550100"), Verdict::Blocked(Block::Closed(Range::OtherPlusOne)));
}

#[test]
fn every_verdict_has_its_sentence() {
    let prefix: Prefix = "+49".parse().unwrap();
    let mut verdicts = vec![
        Verdict::Allowed(Grounds::NobodyCalled),
        Verdict::Allowed(Grounds::NothingSpent),
        Verdict::Allowed(Grounds::Listed(prefix.clone(), "our lab".into())),
        Verdict::Blocked(Block::Emergency),
        Verdict::Blocked(Block::Listed(prefix, "wrong number, they called us!".into())),
    ];
    verdicts.extend(Range::ALL.map(|range| Verdict::Allowed(Grounds::Open(range))));
    verdicts.extend(Range::ALL.map(|range| Verdict::Blocked(Block::Closed(range))));
    let mut seen = std::collections::HashSet::new();
    for verdict in verdicts {
        let sentence = verdict.sentence();
        let sound = sentence.ends_with(['.', '!']) && sentence.starts_with(char::is_uppercase);
        assert!(sound && !sentence.contains('_') && !sentence.contains(".."), "{sentence}");
        assert!(seen.insert(sentence), "said of two verdicts: {verdict:?}");
    }
}

#[test]
fn prefixes_are_plus_and_digits() {
    for (text, expected) in
        [("+49", Some("+49")), ("49 30", Some("+4930")), ("+1-876", Some("+1876")), ("7", Some("+7"))]
    {
        assert_eq!(text.parse::<Prefix>().ok().map(|prefix| prefix.to_string()).as_deref(), expected);
    }
    for wrong in ["", "+", "abc", "+49x", "049", "+123456789012345678901", "++4"] {
        assert!(wrong.parse::<Prefix>().is_err(), "{wrong:?}");
    }
    for range in Range::ALL {
        assert_eq!(range.as_str().parse(), Ok(range));
    }
}
