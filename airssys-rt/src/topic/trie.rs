//! Which of many patterns select a subject.

use std::collections::{BTreeMap, HashMap};

use super::subject::{Pattern, Subject, Token};

/// Values by pattern and number: a tree with a level for each token. As deep as a pattern is long.
pub(super) struct Trie<T> {
    root: Node<T>,
}

struct Node<T> {
    literals: HashMap<Box<str>, Node<T>>,
    any: Option<Box<Node<T>>>,
    /// Of the patterns that end here.
    here: BTreeMap<u64, T>,
    /// Of the patterns that end here with `>`.
    rest: BTreeMap<u64, T>,
}

impl<T> Trie<T> {
    pub(super) fn new() -> Self {
        Self { root: Node::new() }
    }

    pub(super) fn insert(&mut self, pattern: &Pattern, number: u64, value: T) {
        let mut node = &mut self.root;
        for token in pattern.tokens() {
            node = match token {
                Token::Literal(literal) => node.literals.entry(literal.into()).or_insert_with(Node::new),
                Token::Any => node.any.get_or_insert_with(|| Box::new(Node::new())),
                Token::Rest => {
                    node.rest.insert(number, value);
                    return;
                }
            };
        }
        node.here.insert(number, value);
    }

    /// Takes a value out, and with it whatever of the tree nobody needs any more.
    pub(super) fn remove(&mut self, pattern: &Pattern, number: u64) -> Option<T> {
        self.root.remove(&mut pattern.tokens(), number)
    }

    /// Adds the values whose patterns select `subject` to `found`.
    pub(super) fn find<'t>(&'t self, subject: &Subject, found: &mut Vec<(u64, &'t T)>) {
        self.root.find(subject.tokens(), found);
    }
}

impl<T> Node<T> {
    fn new() -> Self {
        Self { literals: HashMap::new(), any: None, here: BTreeMap::new(), rest: BTreeMap::new() }
    }

    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.any.is_none() && self.here.is_empty() && self.rest.is_empty()
    }

    fn remove<'p>(&mut self, tokens: &mut impl Iterator<Item = Token<'p>>, number: u64) -> Option<T> {
        match tokens.next() {
            None => self.here.remove(&number),
            Some(Token::Rest) => self.rest.remove(&number),
            Some(Token::Any) => {
                let below = self.any.as_mut()?;
                let value = below.remove(tokens, number);
                if below.is_empty() {
                    self.any = None;
                }
                value
            }
            Some(Token::Literal(literal)) => {
                let below = self.literals.get_mut(literal)?;
                let value = below.remove(tokens, number);
                if below.is_empty() {
                    self.literals.remove(literal);
                }
                value
            }
        }
    }

    fn find<'t, 's>(
        &'t self,
        mut tokens: impl Iterator<Item = &'s str> + Clone,
        found: &mut Vec<(u64, &'t T)>,
    ) {
        let Some(token) = tokens.next() else {
            found.extend(self.here.iter().map(|(number, value)| (*number, value)));
            return;
        };
        found.extend(self.rest.iter().map(|(number, value)| (*number, value)));
        if let Some(below) = self.literals.get(token) {
            below.find(tokens.clone(), found);
        }
        if let Some(below) = &self.any {
            below.find(tokens, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The rules of NATS, token by token, as slowly as can be.
    fn naive(pattern: &[&str], subject: &[&str]) -> bool {
        match (pattern, subject) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            (["*", pattern @ ..], [_, subject @ ..]) => naive(pattern, subject),
            ([one, pattern @ ..], [other, subject @ ..]) => one == other && naive(pattern, subject),
            _ => false,
        }
    }

    /// Few tokens, so that patterns and subjects meet often.
    fn subject() -> impl Strategy<Value = String> {
        vec(prop_oneof!["a", "b", "ab"], 1..5).prop_map(|tokens| tokens.join("."))
    }

    fn pattern() -> impl Strategy<Value = String> {
        let tokens = vec(prop_oneof!["a", "b", "ab", "\\*", "\\*"], 0..5);
        (tokens, any::<bool>()).prop_map(|(mut tokens, rest)| {
            if rest || tokens.is_empty() {
                tokens.push(">".to_owned());
            }
            tokens.join(".")
        })
    }

    fn found(trie: &Trie<()>, subject: &Subject) -> Vec<u64> {
        let mut found = Vec::new();
        trie.find(subject, &mut found);
        let mut numbers: Vec<u64> = found.into_iter().map(|(number, ())| number).collect();
        numbers.sort_unstable();
        numbers
    }

    proptest! {
        #[test]
        fn finds_what_a_naive_matcher_finds(
            patterns in vec((pattern(), any::<bool>()), 0..40),
            subjects in vec(subject(), 1..20),
        ) {
            let mut trie = Trie::new();
            let parsed: Vec<Pattern> = patterns.iter().map(|(text, _)| text.parse().unwrap()).collect();
            for (number, pattern) in parsed.iter().enumerate() {
                trie.insert(pattern, number as u64, ());
            }
            for (number, (_, goes)) in patterns.iter().enumerate() {
                if *goes {
                    prop_assert_eq!(trie.remove(&parsed[number], number as u64), Some(()));
                    prop_assert_eq!(trie.remove(&parsed[number], number as u64), None);
                }
            }
            for subject in &subjects {
                let tokens: Vec<&str> = subject.split('.').collect();
                let subject: Subject = subject.parse().unwrap();
                let mut expected = Vec::new();
                for (number, (text, goes)) in patterns.iter().enumerate() {
                    let selects = naive(&text.split('.').collect::<Vec<_>>(), &tokens);
                    prop_assert_eq!(parsed[number].matches(&subject), selects, "{} and {}", text, &subject);
                    if selects && !goes {
                        expected.push(number as u64);
                    }
                }
                prop_assert_eq!(found(&trie, &subject), expected, "{}", subject);
            }
            for (number, pattern) in parsed.iter().enumerate() {
                trie.remove(pattern, number as u64);
            }
            prop_assert!(trie.root.is_empty(), "what nobody needs is gone");
        }

        #[test]
        fn arbitrary_text_is_parsed_or_refused(text in "[ab.*> \\PC]{0,12}") {
            let tokens: Vec<&str> = text.split('.').collect();
            let wild = |token: &&str| matches!(*token, "*" | ">");
            let plain = |token: &&str| {
                !token.is_empty() && !token.contains(|c: char| "*> ".contains(c) || c.is_whitespace() || c.is_control())
            };
            prop_assert_eq!(text.parse::<Subject>().is_ok(), tokens.iter().all(plain));
            let rest_is_last = tokens.iter().rev().skip(1).all(|token| *token != ">");
            let expected = tokens.iter().all(|token| plain(token) || wild(token)) && rest_is_last;
            prop_assert_eq!(text.parse::<Pattern>().is_ok(), expected);
        }
    }

    #[test]
    fn the_longest_pattern_is_not_too_deep() {
        let (pattern, subject) = (["*"; 128].join("."), ["a"; 128].join("."));
        let mut trie = Trie::new();
        let pattern: Pattern = pattern.parse().unwrap();
        trie.insert(&pattern, 1, ());
        assert_eq!(found(&trie, &subject.parse().unwrap()), [1]);
        assert_eq!(trie.remove(&pattern, 1), Some(()));
        assert!(trie.root.is_empty());
    }
}
