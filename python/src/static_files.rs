//! Reads the settings of static files from the options of the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use ruwsgi::ipc::AppSpec;
use ruwsgi::static_files::settings::{
    CompressedSettings, ExpirySettings, Rules, ServeMode, Settings,
};

/// The settings of static files; `None` if no option defines a static file.
pub fn settings(spec: &AppSpec) -> Option<Arc<Settings>> {
    let options = &spec.worker;
    let settings = Settings {
        check: paths(&options.check_static),
        map: maps(&options.static_map),
        map2: maps(&options.static_map2),
        document_root: options.check_static_docroot,
        mounts: mounts(spec),
        index: names(&options.static_index),
        skip: names(&options.static_skip_ext),
        safe: paths(&options.static_safe),
        expiry: expiry(spec),
        compressed: CompressedSettings {
            all: options.static_gzip_all,
            directories: paths(&options.static_gzip_dir),
            ends: names(&options.static_gzip_ext),
            expressions: options.static_gzip.clone(),
        },
        immutable: options.static_immutable,
        media_types: paths(&options.mimefile),
        serve_mode: match options.file_serve_mode.as_deref() {
            None => ServeMode::Own,
            Some("X-Sendfile") => ServeMode::Header("X-Sendfile"),
            Some(_) => ServeMode::Header("X-Accel-Redirect"),
        },
        ranges: options.honour_range,
    };
    (!settings.is_empty()).then(|| Arc::new(settings))
}

fn expiry(spec: &AppSpec) -> ExpirySettings {
    let options = &spec.worker;
    let rules = |request: &[(String, u32)], modification: &[(String, u32)]| Rules {
        after_request: request.to_vec(),
        after_modification: modification.to_vec(),
    };
    ExpirySettings {
        media_type: rules(
            &options.static_expires_type,
            &options.static_expires_type_mtime,
        ),
        file: rules(&options.static_expires, &options.static_expires_mtime),
        path_info: rules(
            &options.static_expires_path_info,
            &options.static_expires_path_info_mtime,
        ),
        uri: rules(
            &options.static_expires_uri,
            &options.static_expires_uri_mtime,
        ),
    }
}

/// The mount points that `manage-script-name` moves from PATH_INFO to SCRIPT_NAME, the longest first.
pub fn mounts(spec: &AppSpec) -> Vec<Vec<u8>> {
    if !spec.manage_script_name {
        return Vec::new();
    }
    let points = spec.mounts.iter().map(|(point, _)| point.as_bytes());
    let points = points.filter(|point| !point.is_empty() && *point != b"/");
    let mut points: Vec<_> = points.map(<[u8]>::to_vec).collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.len()));
    points
}

fn maps(options: &[(String, String)]) -> Vec<(Vec<u8>, PathBuf)> {
    let maps = options.iter();
    maps.map(|(prefix, path)| (prefix.as_bytes().to_vec(), PathBuf::from(path)))
        .collect()
}

fn paths(options: &[String]) -> Vec<PathBuf> {
    options.iter().map(PathBuf::from).collect()
}

fn names(options: &[String]) -> Vec<Vec<u8>> {
    let names = options.iter();
    names.map(|name| name.as_bytes().to_vec()).collect()
}
