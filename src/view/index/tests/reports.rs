//! Load of one instance that no record of its node has.

use super::*;

#[test]
fn a_report_of_one_instance_leaves_the_others_and_outlives_a_change_of_its_endpoint() {
    let mut index = index(two_workers());
    let all = [load("n", &[("worker-0", 5), ("worker-1", 5)])];
    index.apply(all, START);
    let report = |current: i32| {
        let Fact::Load(node, Some(record)) = load("n", &[("worker-1", current)]) else {
            unreachable!()
        };
        let (instance, report) = record.instances.into_iter().next().unwrap();
        Fact::Report(node, instance, Some(report))
    };
    index.apply([report(7)], START);
    let loads = |index: &Index| -> Vec<Option<i32>> {
        let members = index.directory.members("Worker").unwrap();
        let endpoints = members.endpoints().iter();
        let current = |e: &Arc<Endpoint>| e.load().counts.map(|counts| counts.current);
        endpoints.map(current).collect()
    };
    assert_eq!(loads(&index), [Some(5), Some(7)]);
    let Fact::Report(node, instance, _) = report(0) else {
        unreachable!()
    };
    index.apply([Fact::Report(node, instance, None)], START);
    assert_eq!(loads(&index), [Some(5), None]);
}
