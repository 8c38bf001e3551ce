"""A cache backend of Django on a cache of the instance.

    CACHES = {"default": {"BACKEND": "ruwsgi.django.Cache", "LOCATION": "name of the cache"}}

Without LOCATION it uses the first cache. The size is limited by the definition of the cache, not by MAX_ENTRIES.
"""

import math
import pickle
import sys

import uwsgi
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

# an int that fits is stored as a number of 8 bytes, on which uwsgi.cache_inc works; no other value has 8 bytes
_NUMBER_SIZE = 8
_ORDER = sys.byteorder
_LARGEST = 2**63 - 1


def _dump(value):
    if type(value) is int and -_LARGEST <= value <= _LARGEST:
        return value.to_bytes(_NUMBER_SIZE, _ORDER, signed=True)
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    # pickle ignores what follows its end
    return data + b"\0" if len(data) == _NUMBER_SIZE else data


def _load(data):
    if len(data) == _NUMBER_SIZE:
        return int.from_bytes(data, _ORDER, signed=True)
    return pickle.loads(data)


class Cache(BaseCache):
    """Stores pickled values in a cache of the instance."""

    def __init__(self, location, params):
        super().__init__(params)
        self._where = (location,) if location else ()

    def _key(self, key, version):
        key = self.make_key(key, version=version)
        self.validate_key(key)
        return str(key)

    def _expires(self, timeout):
        """The argument expires for a timeout: 0 is never, and -1 is at once."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            return 0
        return math.ceil(timeout) if timeout > 0 else -1

    def add(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        key = self._key(key, version)
        return bool(uwsgi.cache_set(key, _dump(value), self._expires(timeout), *self._where))

    def get(self, key, default=None, version=None):
        data = uwsgi.cache_get(self._key(key, version), *self._where)
        return default if data is None else _load(data)

    def set(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        key = self._key(key, version)
        if not uwsgi.cache_update(key, _dump(value), self._expires(timeout), *self._where):
            # the old value must not outlive a value that does not fit
            uwsgi.cache_del(key, *self._where)

    def touch(self, key, timeout=DEFAULT_TIMEOUT, version=None):
        key = self._key(key, version)
        return bool(uwsgi._cache_touch(key, self._expires(timeout), *self._where))

    def delete(self, key, version=None):
        return bool(uwsgi.cache_del(self._key(key, version), *self._where))

    def has_key(self, key, version=None):
        return bool(uwsgi.cache_exists(self._key(key, version), *self._where))

    def incr(self, key, delta=1, version=None):
        number = uwsgi._cache_add(self._key(key, version), delta, *self._where)
        # a value of another type is changed as Django does it, which is not atomic
        return super().incr(key, delta, version) if number is None else number

    def clear(self):
        uwsgi.cache_clear(*self._where)
