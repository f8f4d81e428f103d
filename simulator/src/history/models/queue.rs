//! A queue.

use super::Stored;
use crate::history::Specification;

/// A queue, first in, first out, empty at first.
#[derive(Clone, Debug)]
pub struct Queue<V> {
    value: std::marker::PhantomData<V>,
}

/// What a queue is asked.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum QueueCall<V> {
    /// To take a value in at its end.
    Enqueue(V),
    /// To give the value at its head away.
    Dequeue,
}

/// What a queue answers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum QueueAnswer<V> {
    /// The value was taken in.
    Enqueued,
    /// The value that was at the head.
    Dequeued(V),
    /// There was none.
    Empty,
}

impl<V> Default for Queue<V> {
    fn default() -> Self {
        Self { value: std::marker::PhantomData }
    }
}

impl<V: Stored> Specification for Queue<V> {
    type State = Vec<V>;
    type Input = QueueCall<V>;
    type Output = QueueAnswer<V>;

    fn initial(&self) -> Vec<V> {
        Vec::new()
    }

    fn step(
        &self,
        values: &Vec<V>,
        call: &QueueCall<V>,
        answer: Option<&QueueAnswer<V>>,
    ) -> Option<Vec<V>> {
        match (call, answer) {
            (QueueCall::Enqueue(value), None | Some(QueueAnswer::Enqueued)) => {
                let mut values = values.clone();
                values.push(value.clone());
                Some(values)
            }
            (QueueCall::Dequeue, Some(QueueAnswer::Empty)) => {
                values.is_empty().then(|| values.clone())
            }
            (QueueCall::Dequeue, Some(QueueAnswer::Dequeued(value))) => {
                let (head, rest) = values.split_first()?;
                (head == value).then(|| rest.to_vec())
            }
            (QueueCall::Dequeue, None) => {
                Some(values.split_first().map_or_else(Vec::new, |(_, rest)| rest.to_vec()))
            }
            _ => None,
        }
    }

    fn only_reads(&self, _: &QueueCall<V>, answer: Option<&QueueAnswer<V>>) -> bool {
        answer == Some(&QueueAnswer::Empty)
    }

    fn describe(&self, call: &QueueCall<V>, answer: Option<&QueueAnswer<V>>) -> String {
        match (call, answer) {
            (QueueCall::Enqueue(value), _) => format!("enqueue {}", value.show()),
            (QueueCall::Dequeue, Some(QueueAnswer::Dequeued(value))) => {
                format!("dequeue → {}", value.show())
            }
            (QueueCall::Dequeue, Some(QueueAnswer::Empty)) => String::from("dequeue → empty"),
            (QueueCall::Dequeue, _) => String::from("dequeue"),
        }
    }

    fn describe_state(&self, values: &Vec<V>) -> String {
        let shown: Vec<String> = values.iter().map(V::show).collect();
        format!("the queue [{}]", shown.join(" "))
    }
}
