/* What agents hold, and the fields of agents, beside what they were at the last look. Part of `_native.c`.

   The same as `HeldObject.look` and `AgentWrites` find in Python; these say only where nothing has changed, so that no
   more has to be asked there. */

/* Whether a dict still has the version that was noted, as bytes, when all its items had been compared. */
static inline int has_version(PyObject *dict, PyObject *noted) {
    unsigned long long version = version_of(dict);
    return version != 0 && noted != NULL && PyBytes_CheckExact(noted) && PyBytes_GET_SIZE(noted) == sizeof version
           && memcmp(PyBytes_AS_STRING(noted), &version, sizeof version) == 0;
}

static PyObject *noted_version(PyObject *dict) {
    unsigned long long version = version_of(dict);
    return PyBytes_FromStringAndSize((const char *)&version, sizeof version);
}

/* The `__dict__` of an object if it is there already, a borrowed reference; NULL where it has to be asked for. */
static inline PyObject *ready_dict(PyObject *object) {
#if PY_VERSION_HEX < 0x030C0000
    /* where CPython 3.11 keeps it; a tenth of what asking for the attribute takes */
    if (Py_TYPE(object)->tp_flags & Py_TPFLAGS_MANAGED_DICT && ((PyObject **)object)[-3] != NULL) return ((PyObject **)object)[-3];
    PyObject **place = _PyObject_GetDictPtr(object);
    return place == NULL ? NULL : *place;
#else
    return NULL;
#endif
}

/* The `__dict__` of an object as it is, a new reference; NULL where it has none. */
static PyObject *dict_of(PyObject *object) {
    PyObject *held = ready_dict(object);
    return held != NULL ? Py_NewRef(held) : PyObject_GenericGetDict(object, NULL);
}

/* attributes_version(object, attributes): a number that no other dict has had, if that is the object's `__dict__` itself; else 0. */
static PyObject *attributes_version(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 2) return PyErr_SetString(PyExc_TypeError, "attributes_version(object, attributes)"), NULL;
    int is_own = PyDict_CheckExact(given[1]) && ready_dict(given[0]) == given[1];
    return PyLong_FromUnsignedLongLong(is_own ? version_of(given[1]) : 0);
}

enum { MOST_DEPTH_COMPARED = 16 };

/* Whether an array of numpy surely has the type, shape and bytes of a copy; 0 for what has no plain buffer, such as times. */
static int is_same_array(PyObject *copy, PyObject *now) {
    Py_buffer one, other;
    if (strcmp(Py_TYPE(copy)->tp_name, "numpy.ndarray") != 0) return 0;
    if (PyObject_GetBuffer(copy, &one, PyBUF_FULL_RO) < 0) return PyErr_Clear(), 0;
    if (PyObject_GetBuffer(now, &other, PyBUF_FULL_RO) < 0) return PyErr_Clear(), PyBuffer_Release(&one), 0;
    int same = one.len == other.len && one.ndim == other.ndim && one.format != NULL && other.format != NULL
               && strcmp(one.format, other.format) == 0 && strchr(one.format, 'O') == NULL
               && PyBuffer_IsContiguous(&one, 'C') && PyBuffer_IsContiguous(&other, 'C');
    for (int at = 0; same && at < one.ndim; at++) same = one.shape[at] == other.shape[at];
    same = same && memcmp(one.buf, other.buf, one.len) == 0;
    PyBuffer_Release(&one);
    PyBuffer_Release(&other);
    return same;
}

static int has_same_content(PyObject *copy, PyObject *now, int depth);

static int have_same_items(PyObject *copy, PyObject *now, int depth) {
    PyObject *key, *item, *key_now, *item_now;
    Py_ssize_t at = 0, beside = 0;
    if (PyDict_GET_SIZE(copy) != PyDict_GET_SIZE(now)) return 0;
    if (PyDict_GET_SIZE(copy) == 0) return 1;
    while (PyDict_Next(copy, &at, &key, &item) && PyDict_Next(now, &beside, &key_now, &item_now)) {
        if (key != key_now && !has_same_content(key, key_now, depth + 1)) return 0;
        if (item != item_now && !has_same_content(item, item_now, depth + 1)) return 0;
    }
    return 1;
}

/* Whether two objects have the very same attribute, a member of their class, whose lookup runs no code of others. */
static int have_same_member(PyObject *one, PyObject *other, PyObject *name) {
    PyObject *first = PyObject_GetAttr(one, name), *second = first == NULL ? NULL : PyObject_GetAttr(other, name);
    int same = second != NULL && (first == second || (PyLong_CheckExact(first) && has_same_content(first, second, 0)));
    Py_XDECREF(second);
    Py_XDECREF(first);
    PyErr_Clear();
    return same;
}

/* Whether sets surely have the same members, all of them texts or all whole numbers. */
static int are_same_sets(PyObject *copy, PyObject *now) {
    PyObject *key;
    Py_ssize_t at = 0;
    Py_hash_t hash;
    PyTypeObject *kind = NULL;
    if (PySet_GET_SIZE(copy) != PySet_GET_SIZE(now)) return 0;
    while (_PySet_NextEntry(now, &at, &key, &hash)) {
        if (kind == NULL) kind = Py_TYPE(key);
        if (Py_TYPE(key) != kind || (kind != &PyUnicode_Type && kind != &PyLong_Type)) return 0;
    }
    for (at = 0; _PySet_NextEntry(copy, &at, &key, &hash);)
        if (Py_TYPE(key) != kind || PySet_Contains(now, key) != 1) return 0;
    return 1;
}

static int are_same_deques(PyObject *copy, PyObject *now, int depth) {
    if (!have_same_member(copy, now, W_maxlen)) return 0;
    PyObject *items = PyObject_GetIter(copy), *items_now = PyObject_GetIter(now);
    int same = items != NULL && items_now != NULL, is_over = !same;
    while (!is_over) {
        PyObject *item = PyIter_Next(items), *item_now = PyIter_Next(items_now);
        same = item == NULL || item_now == NULL ? item == item_now : has_same_content(item, item_now, depth + 1);
        is_over = item == NULL || !same;
        Py_XDECREF(item_now);
        Py_XDECREF(item);
    }
    Py_XDECREF(items_now);
    Py_XDECREF(items);
    if (PyErr_Occurred()) same = 0;
    PyErr_Clear();
    return same;
}

/* Whether a value surely has the content of a copy: types, order of keys and NaN count, and no code of a class is run. 0
   where Python has to say. */
static int has_same_content(PyObject *copy, PyObject *now, int depth) {
    PyTypeObject *kind = Py_TYPE(copy);
    if (copy == now) return 1;
    if (kind != Py_TYPE(now) || depth > MOST_DEPTH_COMPARED) return 0;
    if (kind == &PyFloat_Type) return is_same_float(PyFloat_AS_DOUBLE(copy), PyFloat_AS_DOUBLE(now));
    if (kind == &PyLong_Type || kind == &PyUnicode_Type || kind == &PyBytes_Type) return PyObject_RichCompareBool(copy, now, Py_EQ) == 1;
    if (kind == &PyDict_Type) return have_same_items(copy, now, depth);
    if (kind == &PyList_Type || kind == &PyTuple_Type) {
        Py_ssize_t size = PySequence_Fast_GET_SIZE(copy);
        if (size != PySequence_Fast_GET_SIZE(now)) return 0;
        PyObject **items = PySequence_Fast_ITEMS(copy), **items_now = PySequence_Fast_ITEMS(now);
        for (Py_ssize_t i = 0; i < size; i++)
            if (items[i] != items_now[i] && !has_same_content(items[i], items_now[i], depth + 1)) return 0;
        return 1;
    }
    if (kind == DEFAULTDICT) return have_same_member(copy, now, W_default_factory) && have_same_items(copy, now, depth);
    if (kind == &PySet_Type || kind == &PyFrozenSet_Type) return are_same_sets(copy, now);
    if (kind == DEQUE) return are_same_deques(copy, now, depth);
    return is_same_array(copy, now);
}

static PyObject *same_content(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2) return PyErr_SetString(PyExc_TypeError, "same_content(copy, now)"), NULL;
    return PyBool_FromLong(has_same_content(arguments[0], arguments[1], 0));
}

/* How often a large container is still to be looked at; -1 for a small one, which always is. */
static long looks_at(PyObject *entry) {
    PyObject *kept = PyTuple_GET_ITEM(entry, 3);
    return IS_A(kept, KEPT) ? PyLong_AsLong(GET(kept, KEPT_looks_left)) : -1;
}

/* Whether each of `entries`, (name, identity, copy, what counts the looks at it), is what stands in `present`: the same
   object, and equal to the copy where there is one and it is still looked at. Where `are_there`, all stood there at this version
   of it, which therefore keeps them alive. */
static int are_in_place(PyObject *present, PyObject *entries, int are_there) {
    for (Py_ssize_t place = 0; place < PyList_GET_SIZE(entries); place++) {
        PyObject *entry = PyList_GET_ITEM(entries, place);
        if (!PyTuple_CheckExact(entry) || PyTuple_GET_SIZE(entry) != 4) return 0;
        PyObject *now = (PyObject *)as_number(PyTuple_GET_ITEM(entry, 1)), *copy = PyTuple_GET_ITEM(entry, 2);
        if (!are_there && (now == NULL || PyDict_GetItemWithError(present, PyTuple_GET_ITEM(entry, 0)) != now)) return 0;
        if (copy == Py_None || looks_at(entry) == 0) continue;
        if (!has_same_content(copy, now, 0)) return 0;
    }
    return 1;
}

/* The start of a `bitgen_t` of numpy, and what its `state` is in a PCG64 and in an MT19937. */
typedef struct {
    char *state;
} BitGenerator;
typedef struct {
    uint32_t key[624];
    int pos;
} Mt19937;
typedef struct {
    char *number;
    int has_uint32;
} Pcg64;

static int is_inside(const char *at, size_t size, PyObject *object) {
    const char *begin = (const char *)object;
    return at >= begin && at + size <= begin + Py_TYPE(object)->tp_basicsize;
}

/* The `state` of a generator of bits, if it lies in the memory of the object itself, which alone is read: with another
   layout it stands elsewhere, and Python is asked. */
static void *own_state(PyObject *bits, size_t size) {
    PyObject *capsule = PyObject_GetAttr(bits, W_capsule);
    if (capsule == NULL) return NULL;
    BitGenerator *generator = PyCapsule_GetPointer(capsule, "BitGenerator");
    Py_DECREF(capsule);
    return generator == NULL || !is_inside(generator->state, size, bits) ? NULL : generator->state;
}

/* Whether an MT19937 stands at (first word, place), which a `RandomState` follows with whether it keeps half of a pair of
   normal numbers; -1 where Python has to say. Only where it keeps one can it give a number and stand where it stood. */
static int is_mt19937_at(PyObject *bits, PyObject *position, Py_ssize_t parts) {
    Mt19937 *state = own_state(bits, sizeof(Mt19937));
    if (state == NULL || parts < 2 || parts > 3) return -1;
    if (parts == 3 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(position, 2), "0") != 0) return -1;
    return PyLong_AsUnsignedLong(PyTuple_GET_ITEM(position, 0)) == state->key[0] && PyLong_AsLong(PyTuple_GET_ITEM(position, 1)) == state->pos;
}

/* Whether a PCG64 stands at (number, has_uint32); -1 where Python has to say. */
static int is_pcg64_at(PyObject *bits, PyObject *position, Py_ssize_t parts) {
    Pcg64 *state = own_state(bits, sizeof(Pcg64));
    if (state == NULL || parts != 2 || !is_inside(state->number, 16, bits)) return -1;
    static PyObject *last; /* most often asked for again */
    static unsigned char bytes[16];
    PyObject *number = PyTuple_GET_ITEM(position, 0);
    if (!PyLong_CheckExact(number)) return -1;
    if (number != last) {
        Py_CLEAR(last);
#if PY_VERSION_HEX >= 0x030D0000
        int failed = _PyLong_AsByteArray((PyLongObject *)number, bytes, sizeof bytes, PY_LITTLE_ENDIAN, 0, 0) < 0;
#else
        int failed = _PyLong_AsByteArray((PyLongObject *)number, bytes, sizeof bytes, PY_LITTLE_ENDIAN, 0) < 0;
#endif
        if (failed) return -1;
        last = Py_NewRef(number);
    }
    if (memcmp(bytes, state->number, sizeof bytes) != 0) return -1;
    return PyLong_AsLong(PyTuple_GET_ITEM(position, 1)) == state->has_uint32;
}

static const char PCG64[] = "numpy.random._pcg64.PCG64";

/* The generator of bits in a generator of numpy, and whether that can spawn others. */
static PyObject *bits_of(PyObject *generator, int *can_spawn) {
    PyObject *bits = PyObject_GetAttr(generator, W_bit_generator);
    *can_spawn = bits != NULL;
    if (bits != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) return bits;
    PyErr_Clear();
    return PyObject_GetAttr(generator, W__bit_generator); /* of a `RandomState` */
}

/* How many children the seed of a generator of bits has spawned; -1 where it does not say. */
static long spawned_by(PyObject *bits) {
    PyObject *seed = PyObject_GetAttr(bits, W_seed_seq), *count = seed == NULL ? NULL : PyObject_GetAttr(seed, W_n_children_spawned);
    long spawned = count == NULL || !PyLong_CheckExact(count) ? -1 : PyLong_AsLong(count);
    Py_XDECREF(count);
    Py_XDECREF(seed);
    PyErr_Clear();
    return spawned;
}

static int are_twisters(PyObject *bits) { return strcmp(Py_TYPE(bits)->tp_name, "numpy.random._mt19937.MT19937") == 0; }

/* The same for a generator of numpy. */
static int is_numpy_at(PyObject *generator, PyObject *position) {
    int can_spawn, same = -1;
    PyObject *bits = bits_of(generator, &can_spawn);
    if (bits == NULL) return -1;
    long spawned = can_spawn ? spawned_by(bits) : -1;
    Py_ssize_t parts = PyTuple_GET_SIZE(position) - (spawned >= 0);
    if (spawned >= 0 && parts >= 0 && PyLong_AsLong(PyTuple_GET_ITEM(position, parts)) != spawned)
        same = 0;
    else if (are_twisters(bits))
        same = is_mt19937_at(bits, position, parts);
    else if (strcmp(Py_TYPE(bits)->tp_name, PCG64) == 0)
        same = is_pcg64_at(bits, position, parts);
    Py_DECREF(bits);
    return same;
}

/* numpy_mark(generator): what `_drawn` of generators.py gives of a generator of numpy whose bits are a PCG64's or an MT19937's. */
static PyObject *numpy_mark(PyObject *Py_UNUSED(module), PyObject *generator) {
    int can_spawn;
    PyObject *bits = bits_of(generator, &can_spawn), *number = NULL;
    if (bits == NULL) return NULL;
    if (are_twisters(bits)) {
        Mt19937 *state = own_state(bits, sizeof(Mt19937));
        if (state != NULL) number = PyLong_FromUnsignedLong(state->key[0]);
        Py_DECREF(bits);
        if (number != NULL) return Py_BuildValue("(Ni)", number, state->pos);
    } else {
        Pcg64 *state = strcmp(Py_TYPE(bits)->tp_name, PCG64) == 0 ? own_state(bits, sizeof(Pcg64)) : NULL;
        if (state != NULL && is_inside(state->number, 16, bits))
            number = _PyLong_FromByteArray((const unsigned char *)state->number, 16, PY_LITTLE_ENDIAN, 0);
        Py_DECREF(bits);
        if (number != NULL) return Py_BuildValue("(Ni)", number, state->has_uint32);
    }
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

/* Whether a generator stands at the position that `position_of` gave; -1 where Python has to say. */
static int is_at(PyObject *generator, PyObject *position) {
    if (!PyTuple_CheckExact(position)) return -1;
    Twister *twister = twister_of(generator);
    if (twister == NULL) return is_numpy_at(generator, position);
    PyObject *own = dict_of(generator), *spare = own == NULL ? NULL : PyDict_GetItemWithError(own, W_gauss_next);
    int same = spare == Py_None ? 0 : -1;
    Py_XDECREF(own);
    if (same < 0 || PyTuple_GET_SIZE(position) != 3) return same;
    PyObject *word = PyTuple_GET_ITEM(position, 0), *place = PyTuple_GET_ITEM(position, 1);
    return PyLong_CheckExact(word) && PyLong_CheckExact(place) && as_number(word) == twister->words[0]
           && as_number(place) == twister->index && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(position, 2), "None") == 0;
}

/* Whether generators stand where they stood: their positions, by name; the name of a generator that is held itself is
   empty. Where they are read in Python alone `position_of` is asked; where it is NULL they count as others. */
static int have_not_drawn(PyObject *value, PyObject *present, PyObject *marks, PyObject *position_of) {
    PyObject *name, *before;
    Py_ssize_t at = 0;
    int same = 1;
    if (PyDict_GET_SIZE(marks) == 0) return 1;
    while (same == 1 && PyDict_Next(marks, &at, &name, &before)) {
        PyObject *generator = present == NULL ? value : PyDict_GetItemWithError(present, name);
        if (generator == NULL) return 0;
        Py_INCREF(generator);
        Py_INCREF(before);
        same = is_at(generator, before);
        PyErr_Clear();
        if (same < 0 && position_of != NULL) {
            PyObject *now = PyObject_CallOneArg(position_of, generator);
            same = now != NULL && PyObject_RichCompareBool(now, before, Py_EQ) == 1;
            Py_XDECREF(now);
        }
        Py_DECREF(before);
        Py_DECREF(generator);
    }
    return same == 1;
}

/* Whether the attributes that count are the scalars of the last look, or of types that tell nothing. */
static int has_its_scalars(PyObject *held, PyObject *present) {
    PyObject *last = GET(held, HELD_last), *skipped = GET(held, HELD__skipped), *names = GET(held, HELD__names);
    PyObject *key, *value;
    Py_ssize_t at = 0, met = 0;
    if (!PyDict_CheckExact(last) || !PyDict_CheckExact(skipped)) return 0;
    if (names == Py_None) {
        if (PyDict_GET_SIZE(present) > MOST_ATTRIBUTES) return 0;
        while (PyDict_Next(present, &at, &key, &value))
            if (is_as_before(key, value, last, skipped, &met) != 1) return 0;
    } else if (PyTuple_CheckExact(names)) {
        for (; at < PyTuple_GET_SIZE(names); at++) {
            key = PyTuple_GET_ITEM(names, at);
            value = PyDict_GetItemWithError(present, key);
            if (value != NULL && is_as_before(key, value, last, skipped, &met) != 1) return 0;
        }
    } else {
        return 0;
    }
    return met == PyDict_GET_SIZE(last);
}

static int is_quiet(PyObject *value, PyObject *held, PyObject *position_of) {
    PyObject *entries = GET(held, HELD__entries), *marks = GET(held, HELD__marks);
    if (entries == NULL || !PyList_CheckExact(entries) || !PyDict_CheckExact(marks)) return 0;
    if (GET(held, HELD__is_generator) == Py_True) return have_not_drawn(value, NULL, marks, position_of);
    PyObject *present = dict_of(value);
    if (present == NULL) return 0;
    Py_INCREF(entries);
    Py_INCREF(marks);
    int quiet = PyDict_CheckExact(present), are_there = quiet && has_version(present, GET(held, HELD__version));
    quiet = quiet && (are_there || has_its_scalars(held, present)) && are_in_place(present, entries, are_there);
    if (quiet && !are_there) PUT(held, HELD__version, noted_version(present));
    quiet = quiet && have_not_drawn(value, present, marks, position_of);
    Py_DECREF(marks);
    Py_DECREF(entries);
    Py_DECREF(present);
    return quiet;
}

/* What an agent that is given by its place holds now: a new reference; NULL, perhaps with an exception, where it holds something
   else, and `is_gone` says so, or where Python has to look. */
static PyObject *at_place(PyObject *place, int *is_gone) {
    PyObject *reference = GET(place, PLACE_OF_agent), *names = GET(place, PLACE_OF_names), *found;
    if (!PyWeakref_Check(reference) || !PyTuple_CheckExact(names)) return NULL;
#if PY_VERSION_HEX >= 0x030D0000
    int is_there = PyWeakref_GetRef(reference, &found);
    if (is_there <= 0) return *is_gone = is_there == 0, NULL;
#else
    if ((found = PyWeakref_GetObject(reference)) == Py_None) return *is_gone = 1, NULL;
    Py_INCREF(found);
#endif
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(names); at++) {
        PyObject *held = dict_of(found), *next = NULL;
        Py_DECREF(found);
        if (held == NULL || !PyDict_CheckExact(held)) return Py_XDECREF(held), NULL;
        next = Py_XNewRef(PyDict_GetItemWithError(held, PyTuple_GET_ITEM(names, at)));
        Py_DECREF(held);
        if (next == NULL) return *is_gone = !PyErr_Occurred(), NULL;
        found = next;
    }
    if ((void *)found == (void *)as_number(GET(place, PLACE_OF_identity)) && (PyObject *)Py_TYPE(found) == GET(place, PLACE_OF_kind)) return found;
    Py_DECREF(found);
    *is_gone = !PyErr_Occurred();
    return NULL;
}

enum { IS_UNLIKE, IS_QUIET, IS_GONE }; /* what a look at a `HeldObject` would tell */

/* Whether a look at a `HeldObject` would tell nothing: because it is as it was, or because it is not there. */
static int tells_nothing(PyObject *held, PyObject *position_of) {
    if (!IS_A(held, HELD)) return IS_UNLIKE;
    PyObject *reference = GET(held, HELD__refer), *value;
    int is_gone = 0;
    if (GET(held, HELD_is_moving) != Py_True) {
        long left = PyLong_AsLong(GET(held, HELD_looks_left));
        if (left <= 0) return PyErr_Occurred() ? IS_UNLIKE : IS_QUIET;
    }
    if (IS_A(reference, PLACE_OF)) {
        if ((value = at_place(reference, &is_gone)) == NULL) return is_gone ? IS_GONE : IS_UNLIKE;
    } else if (IS_A(reference, STRONG)) {
        if ((value = Py_XNewRef(GET(reference, STRONG_value))) == NULL) return IS_UNLIKE;
    } else {
        if (!PyWeakref_Check(reference)) return IS_UNLIKE;
#if PY_VERSION_HEX >= 0x030D0000
        int is_there = PyWeakref_GetRef(reference, &value);
        if (is_there <= 0) return is_there == 0 ? IS_GONE : IS_UNLIKE;
#else
        if ((value = PyWeakref_GetObject(reference)) == Py_None) return IS_GONE;
        Py_INCREF(value);
#endif
    }
    int quiet = is_quiet(value, held, position_of);
    Py_DECREF(value);
    return quiet ? IS_QUIET : IS_UNLIKE;
}

/* Count a look that told nothing; `seen_at` says when it was, NULL for never. What is not there is not looked at. */
static int count_look(PyObject *held, PyObject *seen_at, int how) {
    int is_moving = GET(held, HELD_is_moving) == Py_True;
    if (seen_at != NULL) PUT(held, HELD_seen_at, Py_NewRef(seen_at));
    if (how == IS_GONE) return 1;
    long left = is_moving ? 0 : PyLong_AsLong(GET(held, HELD_looks_left));
    int counts = is_moving || left > 0;
    if (left > 0) {
        PyObject *fewer = PyLong_FromLong(left - 1);
        if (fewer == NULL) return 0;
        PUT(held, HELD_looks_left, fewer);
    }
    if (!counts || !PyList_CheckExact(GET(held, HELD__entries))) return 1;
    for (Py_ssize_t place = 0; place < PyList_GET_SIZE(GET(held, HELD__entries)); place++) {
        PyObject *entry = PyList_GET_ITEM(GET(held, HELD__entries), place);
        left = looks_at(entry);
        if (left <= 0) continue;
        PyObject *fewer = PyLong_FromLong(left - 1);
        if (fewer == NULL) return 0;
        PUT(PyTuple_GET_ITEM(entry, 3), KEPT_looks_left, fewer);
    }
    return 1;
}

/* unlike_before(objects, position_of, seen_at): those of these `HeldObject`s, a tuple, whose look may tell something; what
   calls `position_of` a generator tells where it stands. The others count as looked at, when `seen_at` says; None for never. */
static PyObject *unlike_before(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 3 || !PyTuple_CheckExact(arguments[0]))
        return PyErr_SetString(PyExc_TypeError, "unlike_before(objects, position_of, seen_at) takes a tuple"), NULL;
    PyObject *found = NULL;
    for (Py_ssize_t place = 0; place < PyTuple_GET_SIZE(arguments[0]); place++) {
        PyObject *held = PyTuple_GET_ITEM(arguments[0], place);
        int how = tells_nothing(held, arguments[1]);
        int is_settled = how != IS_UNLIKE && count_look(held, arguments[2] == Py_None ? NULL : arguments[2], how);
        PyErr_Clear(); /* whatever it was: the look in Python meets it again */
        if (is_settled) continue;
        if (found == NULL && (found = PyList_New(0)) == NULL) return NULL;
        if (PyList_Append(found, held) < 0) return Py_DECREF(found), NULL;
    }
    return found != NULL ? found : Py_NewRef(NO_TUPLE);
}

/* That of fields in slots is the version of a dict that nothing else holds. */
static int note_version(PyObject *mark, PyObject *dict) {
    PyObject *version = noted_version(dict);
    return version != NULL && PyList_SetItem(mark, MARK_VERSION, version) == 0;
}

/* Whether the dict of an agent has the version that its mark notes. Asked for dozens of agents at each action, so that it reads no
   more of the mark than it needs; 0 where that does not tell. */
static inline int is_untouched(PyObject *mark) {
#if PY_VERSION_HEX < 0x030C0000
    if (!PyList_CheckExact(mark) || PyList_GET_SIZE(mark) != MARK_SIZE) return 0;
    PyObject *const *parts = ((PyListObject *)mark)->ob_item, *held;
    if (!Py_IS_TYPE(parts[0], &_PyWeakref_RefType) || parts[MARK_CONTAINERS] != NO_TUPLE || parts[MARK_COUNTED] != NO_TUPLE) return 0;
    /* None, where the agent is gone, has no dict */
    held = ready_dict(PyWeakref_GET_OBJECT(parts[0]));
    return held != NULL && PyDict_CheckExact(held) && has_version(held, parts[MARK_VERSION]);
#else
    return 0;
#endif
}

/* Whether an agent holds something else than its mark: a weak reference, or itself, names of attributes and the scalars they held,
   names of further ones and the identities of the objects they held, the number of all its attributes (-1 where further ones
   do not count), the version of its dict when all were there, names of containers and what `snapshot` found in them, names of
   others and how many members they had, and names of slots. An empty mark tells nothing. */
static int is_moved(PyObject *mark) {
    if (is_untouched(mark)) return 0;
    if (!PyList_CheckExact(mark) || PyList_GET_SIZE(mark) != MARK_SIZE) return 1;
    PyObject *names = PyList_GET_ITEM(mark, 1), *values = PyList_GET_ITEM(mark, 2);
    PyObject *more = PyList_GET_ITEM(mark, 3), *identities = PyList_GET_ITEM(mark, 4), *agent;
    if (!PyTuple_Check(names) || !PyTuple_Check(values) || !PyTuple_Check(more) ||
        !PyTuple_Check(identities) || PyTuple_GET_SIZE(names) != PyTuple_GET_SIZE(values) ||
        PyTuple_GET_SIZE(more) != PyTuple_GET_SIZE(identities)) return 1;
    if ((agent = agent_of_marks(mark)) == NULL) return PyErr_Clear(), 1;
    PyObject *held = present_of(mark, agent);
    Py_DECREF(agent); /* its dict is enough, and holds what it held */
    if (held == NULL) return PyErr_Clear(), 1;
    int moved = !PyDict_CheckExact(held);
    long number = PyLong_AsLong(PyList_GET_ITEM(mark, MARK_NUMBER));
    moved = moved || (number != -1 && PyDict_GET_SIZE(held) != number);
    for (Py_ssize_t at = 0; !moved && at < PyTuple_GET_SIZE(names); at++) {
        PyObject *now = PyDict_GetItemWithError(held, PyTuple_GET_ITEM(names, at)), *was = PyTuple_GET_ITEM(values, at);
        if (now == was) continue;
        moved = now == NULL || Py_TYPE(now) != Py_TYPE(was) || !is_scalar(Py_TYPE(now)) ||
                PyObject_RichCompareBool(now, was, Py_EQ) != 1;
    }
    for (Py_ssize_t at = 0; !moved && at < PyTuple_GET_SIZE(more); at++)
        moved = (void *)PyDict_GetItemWithError(held, PyTuple_GET_ITEM(more, at)) !=
                (void *)as_number(PyTuple_GET_ITEM(identities, at));
    moved = moved || are_other_inside(held, mark);
    if (!moved) note_version(mark, held);
    Py_DECREF(held);
    PyErr_Clear();
    return moved;
}

/* moved(marks): the places of those agents that hold something else than their mark. */
static PyObject *moved(PyObject *Py_UNUSED(module), PyObject *marks) {
    if (!PyList_CheckExact(marks)) return PyErr_SetString(PyExc_TypeError, "moved(marks) takes a list"), NULL;
    PyObject *found = PyList_New(0);
    for (Py_ssize_t at = 0; found != NULL && at < PyList_GET_SIZE(marks); at++) {
        if (!is_moved(PyList_GET_ITEM(marks, at))) continue;
        PyObject *place = PyLong_FromSsize_t(at);
        if (place == NULL || PyList_Append(found, place) < 0) Py_CLEAR(found);
        Py_XDECREF(place);
    }
    return found;
}

/* ---- an action between which and the last one nothing was changed ---- */

/* Whether `BetweenActions` is what can be looked at here: one thread alone acts, this one, and the first looks are over. */
static int is_settled(PyObject *between, long open) {
    if (!IS_A(between, BETWEEN) || PyLong_AsLong(GET(between, BETWEEN__open)) != open) return 0;
    PyObject *writes = GET(between, BETWEEN_writes), *objects = GET(between, BETWEEN_objects);
    if (!IS_A(writes, WRITES) || !IS_A(objects, OBJECTS) || !PyLong_CheckExact(GET(writes, WRITES__thread))) return 0;
    return PyLong_AsUnsignedLong(GET(writes, WRITES__thread)) == PyThread_get_thread_ident()
           && PyLong_AsLong(GET(writes, WRITES__left)) == 0 && GET(writes, WRITES__is_first) != Py_True
           && GET(writes, WRITES__is_mixed) != Py_True && is_true(GET(objects, OBJECTS_is_settled));
}

enum { MOST_OTHERS = 8 };

/* Agents whose fields hold other scalars than at the last look: the one that acted, by its place, and others. */
typedef struct {
    Py_ssize_t own;
    int count;
    PyObject *others[MOST_OTHERS]; /* (tracker, what was seen), held */
} Moved;

/* Whether the fields of the agents that are looked at hold what they held; those of `own`, which acted, and those that it wrote
   may hold others, unless it is NULL. */
static int hold_what_they_held(PyObject *writes, PyObject *own, Moved *moved) {
    if (GET(writes, WRITES_is_watching) != Py_True) return 1;
    PyObject *order = GET(writes, WRITES__order), *compared = GET(writes, WRITES__compared);
    if (!PyList_CheckExact(order) || !PyList_CheckExact(compared) || !PyDict_CheckExact(GET(writes, WRITES__looked))
        || PyList_GET_SIZE(order) != PyDict_GET_SIZE(GET(writes, WRITES__looked))
        || PyList_GET_SIZE(order) != PyList_GET_SIZE(compared)) return 0;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(compared); at++) {
        if (!is_moved(PyList_GET_ITEM(compared, at))) continue;
        PyObject *item = PyList_GET_ITEM(order, at);
        if (own == NULL || !PyTuple_CheckExact(item) || PyTuple_GET_SIZE(item) != 2) return 0;
        if (PyTuple_GET_ITEM(item, 0) == own) {
            moved->own = at;
        } else {
            if (moved->count == MOST_OTHERS || !note_writer(PyTuple_GET_ITEM(item, 0), PyTuple_GET_ITEM(item, 1), NULL)) return 0;
            moved->others[moved->count++] = Py_NewRef(item);
        }
    }
    return 1;
}

enum { MOST_MOVING = 16, MOST_OF_AGENT = 8 };

/* What is looked at where an action begins or ends. */
typedef struct {
    int count, how[MOST_MOVING + MOST_OF_AGENT];
    PyObject *held[MOST_MOVING + MOST_OF_AGENT];
} Looked;

/* What an agent holds, with what moves. 1; 0 where Python has to put it together. */
static int take_looked(Looked *looked, PyObject *objects, PyObject *held) {
    looked->count = 0;
    if (!PyTuple_CheckExact(held) || PyTuple_GET_SIZE(held) > MOST_OF_AGENT) return 0;
    int own = (int)PyTuple_GET_SIZE(held);
    PyObject *moving = GET(objects, OBJECTS_is_watching) == Py_True ? GET(objects, OBJECTS__moving) : NULL;
    if (moving != NULL && !PyList_CheckExact(moving)) return 0;
    for (int at = 0; at < own; at++) looked->held[looked->count++] = Py_NewRef(PyTuple_GET_ITEM(held, at));
    for (Py_ssize_t at = 0; moving != NULL && at < PyList_GET_SIZE(moving) && at < MOST_MOVING; at++) {
        PyObject *each = PyList_GET_ITEM(moving, at);
        int place = 0;
        while (place < own && looked->held[place] != each) place++;
        if (place == own) looked->held[looked->count++] = Py_NewRef(each);
    }
    return 1;
}

static void leave_looked(Looked *looked) {
    while (looked->count > 0) Py_DECREF(looked->held[--looked->count]);
}

static int tell_nothing(Looked *looked) {
    for (int at = 0; at < looked->count; at++)
        if ((looked->how[at] = tells_nothing(looked->held[at], NULL)) == IS_UNLIKE) return 0;
    return 1;
}

static int count_looks(const Looked *looked, PyObject *seen_at) {
    for (int at = 0; at < looked->count; at++)
        if (!count_look(looked->held[at], seen_at, looked->how[at])) return 0;
    return 1;
}

/* As `BetweenActions.begins` where nothing was changed since the last action ended; 0 where Python has to look. */
static int begins_quietly(PyObject *between, PyObject *held) {
    if (!is_settled(between, 0)) return PyErr_Clear(), 0;
    PyObject *open = PyLong_FromLong(1);
    Looked looked;
    int quiet = take_looked(&looked, GET(between, BETWEEN_objects), held) && open != NULL
                && hold_what_they_held(GET(between, BETWEEN_writes), NULL, NULL) && tell_nothing(&looked) && count_looks(&looked, NULL);
    if (quiet) PUT(between, BETWEEN__open, Py_NewRef(open));
    Py_XDECREF(open);
    leave_looked(&looked);
    PyErr_Clear();
    return quiet;
}

/* Take what containers hold now for what they held at the last look; 0 where Python has to say what is in them. */
static int take_containers(PyObject *looked, PyObject *mark, PyObject *present) {
    PyObject *names = PyList_GET_ITEM(mark, MARK_CONTAINERS), *before = PyList_GET_ITEM(mark, MARK_SNAPSHOTS);
    if (!hold_others(present, names, before)) return 1;
    PyObject *now = PyTuple_New(PyTuple_GET_SIZE(names));
    for (Py_ssize_t at = 0; now != NULL && at < PyTuple_GET_SIZE(names); at++) {
        PyObject *value = PyDict_GetItemWithError(present, PyTuple_GET_ITEM(names, at));
        int is_sized = value != NULL && (PyDict_CheckExact(value) || PyList_CheckExact(value) || PyTuple_CheckExact(value));
        PyObject *found = is_sized ? snapshot(NULL, value) : NULL;
        if (found == NULL || !PyTuple_CheckExact(found)) Py_CLEAR(now);
        if (now == NULL) Py_XDECREF(found);
        else PyTuple_SET_ITEM(now, at, found);
    }
    for (Py_ssize_t at = 0; now != NULL && at < PyTuple_GET_SIZE(names); at++)
        if (PyDict_SetItem(GET(looked, LOOKED_marks), PyTuple_GET_ITEM(names, at), PyTuple_GET_ITEM(now, at)) < 0) Py_CLEAR(now);
    return now != NULL && PyList_SetItem(mark, MARK_SNAPSHOTS, now) == 0;
}

/* Take what an agent's own action wrote for what its fields held at the last look; 0 where it wrote other objects. */
static int take_own(PyObject *looked, PyObject *mark) {
    PyObject *agent, *now = NULL, *present = NULL;
    if (PyList_GET_SIZE(mark) != MARK_SIZE || !IS_A(looked, LOOKED) || !PyDict_CheckExact(GET(looked, LOOKED_marks))) return 0;
    if ((agent = agent_of_marks(mark)) == NULL) return 0;
    PyObject *names = PyList_GET_ITEM(mark, 1), *more = PyList_GET_ITEM(mark, 3), *identities = PyList_GET_ITEM(mark, 4);
    int taken = 0;
    if (!PyTuple_CheckExact(names) || !PyTuple_CheckExact(more) || !PyTuple_CheckExact(identities)
        || PyTuple_GET_SIZE(more) != PyTuple_GET_SIZE(identities)
        || (present = present_of(mark, agent)) == NULL || !PyDict_CheckExact(present)
        || (now = PyTuple_New(PyTuple_GET_SIZE(names))) == NULL) goto done;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(more); at++)
        if ((void *)PyDict_GetItemWithError(present, PyTuple_GET_ITEM(more, at)) != (void *)as_number(PyTuple_GET_ITEM(identities, at)))
            goto done;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(names); at++) {
        PyObject *value = PyDict_GetItemWithError(present, PyTuple_GET_ITEM(names, at));
        if (value == NULL || !(value == Py_None || is_scalar(Py_TYPE(value)))) goto done;
        PyTuple_SET_ITEM(now, at, Py_NewRef(value));
    }
    if (count_others(present, PyList_GET_ITEM(mark, MARK_COUNTED), PyList_GET_ITEM(mark, MARK_COUNTS))) goto done;
    if (!take_containers(looked, mark, present)) goto done;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(names); at++)
        if (PyDict_SetItem(GET(looked, LOOKED_marks), PyTuple_GET_ITEM(names, at), PyTuple_GET_ITEM(now, at)) < 0) goto done;
    taken = PyList_SetItem(mark, 2, Py_NewRef(now)) == 0 && note_version(mark, present);
done:
    Py_XDECREF(now);
    Py_XDECREF(present);
    Py_DECREF(agent);
    return taken;
}

static int note_writers(const Moved *moved, PyObject *writer) {
    for (int i = 0; i < moved->count; i++)
        if (!note_writer(PyTuple_GET_ITEM(moved->others[i], 0), PyTuple_GET_ITEM(moved->others[i], 1), writer)) return 0;
    return 1;
}

/* As `BetweenActions.ended` where the action changed nothing but scalars of agents; 0 where Python has to look.
   `writer` is the id of its agent, None where others may have written meanwhile. */
static int ended_quietly(PyObject *between, PyObject *held, PyObject *own, PyObject *writer) {
    Moved moved = {-1, 0, {NULL}};
    if (!is_settled(between, 1)) return PyErr_Clear(), 0;
    PyObject *writes = GET(between, BETWEEN_writes), *objects = GET(between, BETWEEN_objects);
    PyObject *closed = PyLong_FromLong(0), *ended = PyLong_FromLongLong(PyLong_AsLongLong(GET(objects, OBJECTS__ended)) + 1);
    Looked looked;
    int quiet = take_looked(&looked, objects, held) && closed != NULL && ended != NULL && hold_what_they_held(writes, own, &moved) && tell_nothing(&looked)
                && (moved.count == 0 || writer != Py_None)
                && (moved.own < 0 || take_own(PyTuple_GET_ITEM(PyList_GET_ITEM(GET(writes, WRITES__order), moved.own), 1),
                                              PyList_GET_ITEM(GET(writes, WRITES__compared), moved.own)))
                && note_writers(&moved, writer) && count_looks(&looked, ended);
    for (int i = 0; i < moved.count; i++) Py_DECREF(moved.others[i]);
    if (quiet) {
        PyObject *own_look = own == Py_None ? NULL : PyDict_GetItemWithError(GET(writes, WRITES__looked), own);
        if (own_look != NULL && IS_A(own_look, LOOKED) && PyDict_CheckExact(GET(own_look, LOOKED_pending)))
            PyDict_Clear(GET(own_look, LOOKED_pending));
        PUT(objects, OBJECTS__ended, Py_NewRef(ended));
        PUT(between, BETWEEN__open, Py_NewRef(closed));
    }
    Py_XDECREF(ended);
    Py_XDECREF(closed);
    leave_looked(&looked);
    PyErr_Clear();
    return quiet;
}
