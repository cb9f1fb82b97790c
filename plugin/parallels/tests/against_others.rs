//! Images that QEMU makes, read here; images built by hand, read by QEMU too; images
//! of a collection whose contents are known by hash. `FUMEHOOD_CORPUS` names the
//! collection; otherwise it is `shared/corpus` beside the project, if that is there.

mod support;

use std::fs;

use fumehood_parallels::Parallels;
use fumehood_plugin::{Confidence, Content, Format};
use fumehood_test_support::Bench;
use fumehood_test_support::corpus::{corpus, unpacked};
use fumehood_test_support::tool::sha256;
use support::{Hds, Set, glimpse};

#[test]
fn what_qemu_writes_is_read() {
    let bench = Bench::new("qemu");
    for (cluster, size) in [("1M", "9M"), ("64k", "3500k"), ("4k", "513k"), ("512", "100k")] {
        let options = ["-o", &format!("cluster_size={cluster}"), size];
        let writes = ["write -P 1 0 5k", "write -P 2 70k 9k", "write -P 3 66k 2k"];
        let bytes = bench.made_by_qemu("parallels", &options, &writes);
        assert_eq!(Parallels::probe(&glimpse(&bytes)), Confidence::Certain);
        let set = Set::single(&bytes);
        assert!(set.contents(None).unwrap() == bench.by_qemu("parallels", &bytes), "{cluster}");
        let image = set.open().unwrap();
        assert!(image.info().warnings.is_empty(), "{:?}", image.info());
        assert_eq!(image.disk(0).unwrap().check(false).unwrap(), []);
    }
}

#[test]
fn a_long_run_of_clusters_is_one_extent() {
    let bench = Bench::new("run");
    let options = ["-o", "cluster_size=4k", "64M"];
    let bytes = bench.made_by_qemu("parallels", &options, &["write -P 7 0 3M"]);
    let image = Set::single(&bytes).open().unwrap();
    let extents = image.disk(0).unwrap().extents(0, 64 << 20).unwrap();
    assert_eq!(extents.len(), 2, "{extents:?}");
    assert!(matches!(extents[0].content, Content::Stored(_)) && extents[0].length == 3 << 20);
}

#[test]
fn both_generations_read_as_qemu_reads_them() {
    let bench = Bench::new("generations");
    for (second, tracks, sectors) in
        [(false, 63, 1000), (false, 252, 1024), (true, 8, 99), (true, 2048, 5000), (false, 1, 40)]
    {
        let mut hds = Hds::new(second, tracks, sectors);
        for (number, cluster) in [3, 0, 1, 2].into_iter().enumerate() {
            if cluster < hds.entries() && cluster != 1 {
                hds = hds.fill(cluster, number as u8 + 1);
            }
        }
        let bytes = hds.build();
        let expected = bench.by_qemu("parallels", &bytes);
        assert_eq!(expected.len() as u64, sectors * 512);
        assert!(Set::single(&bytes).contents(None).unwrap() == expected, "{tracks}");
        let mut disk = Set::single(&bytes).open().unwrap().disk(0).unwrap();
        assert_eq!(disk.check(false).unwrap(), []);
    }
}

#[test]
fn the_first_generation_may_end_within_a_cluster() {
    let bench = Bench::new("short");
    let mut bytes = Hds::new(false, 8, 64).fill(2, 5).fill(4, 6).build();
    bytes.truncate(bytes.len() - 1024);
    let found = Set::single(&bytes).contents(None).unwrap();
    assert!(found == bench.by_qemu("parallels", &bytes));
    // The second does not, and what is lost is said to be lost.
    let mut bytes = Hds::new(true, 8, 64).fill(2, 5).fill(4, 6).build();
    bytes.truncate(bytes.len() - 1024);
    let set = Set::single(&bytes);
    let mut disk = set.open().unwrap().disk(0).unwrap();
    let extents = disk.extents(0, 1 << 20).unwrap();
    let damaged: Vec<_> =
        extents.iter().filter(|e| matches!(e.content, Content::Damaged(_))).collect();
    assert_eq!((damaged.len(), damaged[0].offset, damaged[0].length), (1, 4 * 4096 + 3072, 1024));
    assert_eq!(disk.check(false).unwrap().len(), 1);
}

#[test]
fn images_of_others_hold_what_is_known_of_them() {
    let Some(corpus) = corpus("parallels") else { return };
    let first = Set::single(&unpacked(&corpus.join("qemu-iotests-parallels-v1.bz2")));
    assert_eq!(
        sha256(&first.contents(None).unwrap()),
        "15faf41ebc93b5f734341cb7a2d909001e3f7306960f9d8bc63894f2a8e5bc45"
    );
    let known = "7906281f7a25f13df78c907d7bc4e9313d9a26fa86386c6e2a737a784fe80b8f";
    let folder = corpus.join("expanding.hdd");
    let name = "expanding.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds";
    let image = unpacked(&folder.join(format!("{name}.gz")));
    let alone = Set::single(&image);
    assert_eq!(sha256(&alone.contents(None).unwrap()), known);
    let text = fs::read(folder.join("DiskDescriptor.xml")).unwrap();
    assert_eq!(Parallels::probe(&glimpse(&text)), Confidence::Certain);
    let bundle = Set::new("DiskDescriptor.xml", &text, &[(name.into(), image)]);
    assert_eq!(sha256(&bundle.contents(None).unwrap()), known);
    let opened = bundle.open().unwrap();
    let info = opened.info();
    assert_eq!((info.snapshots.len(), info.warnings.len()), (0, 0), "{info:?}");
    assert!(info.details.contains(&("name".into(), "expanding".into())), "{info:?}");
    assert_eq!(opened.disks()[0].physical_sector, 4096);
    let mut disk = opened.disk(0).unwrap();
    assert_eq!(disk.check(false).unwrap(), []);
    let extents = disk.extents(0, u64::MAX).unwrap();
    assert!(extents.len() < 4, "{extents:?}");
}
