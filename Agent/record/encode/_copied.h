/* A value as plain JSON: the copier of `short_walk.py`. Included by `_native.c`. */

enum { DEEPEST_COPIED = 12 };

static PyObject *W_types, *W_left, *W_reduced, *W_special;

static int make_words_of_walk(void) {
    return (W_types = PyUnicode_InternFromString("types")) != NULL && (W_left = PyUnicode_InternFromString("left")) != NULL
        && (W_reduced = PyUnicode_InternFromString("reduced")) != NULL && (W_special = PyUnicode_InternFromString("special")) != NULL;
}

typedef struct {
    PyObject *walk, *types; /* the short walk, and the tags that it notes */
    PyObject *pointer;      /* of the value whose copy was asked for */
    Py_ssize_t left;        /* values that are no scalars, which may still be copied */
} Copying;

static PyObject *copied(Copying *copying, PyObject *value, const Place *place, int depth);

/* Say that a value takes the full walk. */
static PyObject *refused(const Copying *copying) {
    PyObject *special = PyErr_Occurred() ? NULL : PyObject_GetAttr(copying->walk, W_special);
    if (special != NULL) PyErr_SetNone(special);
    Py_XDECREF(special);
    return NULL;
}

static int note_tag(Copying *copying, const Place *place, PyObject *name) {
    PyObject *pointer = pointer_to(copying->pointer, place);
    int failed = pointer == NULL ? -1 : PyDict_SetItem(copying->types, pointer, name);
    Py_XDECREF(pointer);
    return failed;
}

static PyObject *copied_items(Copying *copying, PyObject *items, const Place *place, int depth) {
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    PyObject *copy = PyList_New(count);
    for (Py_ssize_t i = 0; copy != NULL && i < count; i++) {
        Place inner = {place, NULL, i};
        /* a reducer of a user's class may have changed the list */
        PyObject *item = i < PySequence_Fast_GET_SIZE(items) ? Py_NewRef(PySequence_Fast_GET_ITEM(items, i)) : refused(copying);
        PyObject *inside = item == NULL ? NULL : copied(copying, item, &inner, depth + 1);
        Py_XDECREF(item);
        if (inside == NULL) Py_CLEAR(copy);
        else PyList_SET_ITEM(copy, i, inside);
    }
    return copy;
}

static PyObject *copied_pair(Copying *copying, PyObject *key, PyObject *item, const Place *pair, int depth) {
    Place first = {pair, NULL, 0}, second = {pair, NULL, 1};
    PyObject *copy = PyList_New(2), *inside = copy == NULL ? NULL : copied(copying, key, &first, depth);
    if (inside != NULL) PyList_SET_ITEM(copy, 0, inside);
    if (inside != NULL && (inside = copied(copying, item, &second, depth)) != NULL) PyList_SET_ITEM(copy, 1, inside);
    if (inside == NULL) Py_CLEAR(copy);
    return copy;
}

static int has_names_alone(PyObject *mapping) {
    PyObject *key, *item;
    for (Py_ssize_t at = 0; PyDict_Next(mapping, &at, &key, &item);)
        if (!PyUnicode_CheckExact(key)) return 0;
    return 1;
}

static PyObject *copied_dict(Copying *copying, PyObject *mapping, const Place *place, int depth) {
    int is_named = has_names_alone(mapping);
    PyObject *copy = is_named ? PyDict_New() : PyList_New(0), *key, *item;
    Py_ssize_t at = 0, count = 0, size = PyDict_GET_SIZE(mapping);
    while (copy != NULL && PyDict_Next(mapping, &at, &key, &item)) {
        Place inner = {place, is_named ? key : NULL, count++};
        Py_INCREF(key);
        Py_INCREF(item);
        PyObject *inside = is_named ? copied(copying, item, &inner, depth + 1) : copied_pair(copying, key, item, &inner, depth + 1);
        int failed = inside == NULL || (is_named ? PyDict_SetItem(copy, key, inside) : PyList_Append(copy, inside)) < 0;
        Py_XDECREF(inside);
        Py_DECREF(item);
        Py_DECREF(key);
        if (failed) Py_CLEAR(copy);
    }
    if (copy != NULL && (count != size || PyDict_GET_SIZE(mapping) != size)) {
        Py_CLEAR(copy);
        refused(copying);
    }
    if (copy != NULL && !is_named) {
        static PyObject *map;
        if (map == NULL) map = PyUnicode_InternFromString("map");
        if (map == NULL || note_tag(copying, place, map) < 0) Py_CLEAR(copy);
    }
    return copy;
}

static PyObject *copied_number(Copying *copying, PyObject *value, PyObject *name, const Place *place) {
    PyObject *number = own_number(value);
    if (number != NULL && PyFloat_CheckExact(number) && !isfinite(PyFloat_AS_DOUBLE(number))) {
        Py_CLEAR(number);
        refused(copying);
    }
    if (number != NULL && note_tag(copying, place, name) < 0) Py_CLEAR(number);
    return number;
}

/* Let the walk know how many values are left, or learn that from it. */
static int tell_left(const Copying *copying) {
    PyObject *left = PyLong_FromSsize_t(copying->left);
    int failed = left == NULL ? -1 : PyObject_SetAttr(copying->walk, W_left, left);
    Py_XDECREF(left);
    return failed;
}

static int learn_left(Copying *copying) {
    PyObject *left = PyObject_GetAttr(copying->walk, W_left);
    copying->left = left == NULL ? -1 : PyLong_AsSsize_t(left);
    Py_XDECREF(left);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *copied_with_codec(Copying *copying, PyObject *value, const Place *place, int depth) {
    if (tell_left(copying) < 0) return NULL;
    PyObject *pointer = pointer_to(copying->pointer, place), *levels = PyLong_FromLong(depth), *copy = NULL;
    if (pointer != NULL && levels != NULL)
        copy = PyObject_CallMethodObjArgs(copying->walk, W_reduced, value, pointer, levels, NULL);
    Py_XDECREF(levels);
    Py_XDECREF(pointer);
    if (copy != NULL && learn_left(copying) < 0) Py_CLEAR(copy);
    return copy;
}

static PyObject *copied(Copying *copying, PyObject *value, const Place *place, int depth) {
    PyTypeObject *kind = Py_TYPE(value);
    if (kind == &PyUnicode_Type || kind == &PyBool_Type || value == Py_None) return Py_NewRef(value);
    if (kind == &PyLong_Type) {
        int overflow;
        PyLong_AsLongLongAndOverflow(value, &overflow); /* of an `int` it cannot fail */
        return overflow == 0 ? Py_NewRef(value) : copied_with_codec(copying, value, place, depth);
    }
    if (kind == &PyFloat_Type) return isfinite(PyFloat_AS_DOUBLE(value)) ? Py_NewRef(value) : refused(copying);
    if (depth > DEEPEST_COPIED || --copying->left < 0) return refused(copying);
    if (kind == &PyDict_Type) return copied_dict(copying, value, place, depth);
    if (kind == &PyList_Type) return copied_items(copying, value, place, depth);
    if (kind == &PyTuple_Type)
        return note_tag(copying, place, TAG_TUPLE) < 0 ? NULL : copied_items(copying, value, place, depth);
    /* the metaclass of a user may run code when its class is looked up */
    PyObject *name = Py_IS_TYPE(kind, &PyType_Type) ? PyDict_GetItemWithError(NUMBER_TAGS, (PyObject *)kind) : NULL;
    if (name != NULL) return copied_number(copying, value, name, place);
    return PyErr_Occurred() ? NULL : copied_with_codec(copying, value, place, depth);
}

/* copied(walk, value, pointer, depth): as `_ShortWalk.copy`. */
static PyObject *copied_by(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 4 || !PyUnicode_CheckExact(given[2])) return PyErr_Format(PyExc_TypeError, "copied(walk, value, pointer, depth)");
    int depth = (int)PyLong_AsLong(given[3]);
    Copying copying = {given[0], NULL, given[2], 0};
    if (PyErr_Occurred() || learn_left(&copying) < 0 || (copying.types = PyObject_GetAttr(given[0], W_types)) == NULL) return NULL;
    PyObject *copy = NULL;
    if (!PyDict_CheckExact(copying.types)) PyErr_SetString(PyExc_TypeError, "no dict of tags");
    else if ((copy = copied(&copying, given[1], NULL, depth)) != NULL && tell_left(&copying) < 0) Py_CLEAR(copy);
    Py_DECREF(copying.types);
    return copy;
}

/* The child under one token of a JSON Pointer; NULL where there is none, or where Python has to look. */
static PyObject *child_of(PyObject *node, const char *token, Py_ssize_t size) {
    if (PyDict_CheckExact(node)) {
        PyObject *key = PyUnicode_DecodeUTF8(token, size, NULL), *child = key == NULL ? NULL : PyDict_GetItemWithError(node, key);
        Py_XDECREF(key);
        return child;
    }
    Py_ssize_t index = 0;
    if (!PyList_CheckExact(node) || size == 0 || size > 11 || (token[0] == '0' && size > 1)) return NULL;
    for (Py_ssize_t i = 0; i < size; i++) {
        if (token[i] < '0' || token[i] > '9') return NULL;
        index = 10 * index + token[i] - '0';
    }
    return index < PyList_GET_SIZE(node) ? PyList_GET_ITEM(node, index) : NULL;
}

/* part_at(value, pointer, begin): the part at what a JSON Pointer has from a place on; None where Python has to look. */
static PyObject *part_at(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 3 || !PyUnicode_CheckExact(given[1])) return PyErr_Format(PyExc_TypeError, "part_at(value, pointer, begin)");
    Py_ssize_t size = PyUnicode_GET_LENGTH(given[1]), begin = PyLong_AsSsize_t(given[2]);
    if (begin == -1 && PyErr_Occurred()) return NULL;
    if (!PyUnicode_IS_COMPACT_ASCII(given[1]) || begin < 0 || begin > size) Py_RETURN_NONE;
    const char *at = (const char *)PyUnicode_1BYTE_DATA(given[1]) + begin, *end = at + size - begin;
    PyObject *part = given[0];
    while (at < end && part != NULL) {
        const char *token = at + 1, *past = memchr(token, '/', (size_t)(end - token));
        if (past == NULL) past = end;
        if (*at != '/' || memchr(token, '~', (size_t)(past - token)) != NULL) Py_RETURN_NONE;
        part = child_of(part, token, past - token);
        at = past;
    }
    if (part == NULL && PyErr_Occurred()) return NULL;
    return Py_NewRef(part == NULL ? Py_None : part);
}
