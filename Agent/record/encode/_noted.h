/* JSON that is made already: whether it may stay as it is, and the last known fields of an agent that is gone.
   Included by `_native.c`. */

/* Whether each key in the inner JSON of an object is known to be harmless; those of `own` are so at its top, NULL for none.
   1, 0 also where Python has to look, -1 with an exception. */
static int knows_keys(Judge *judge, const char *at, Py_ssize_t size, PyObject *own) {
    const char *end = at + size;
    int depth = 0;
    if (memchr(at, '\\', (size_t)size) != NULL) return 0;
    while (at < end) {
        if (*at == '{' || *at == '[') depth++;
        if (*at == '}' || *at == ']') depth--;
        if (*at != '"') {
            at++;
            continue;
        }
        const char *past = past_string(at, end);
        if (past == NULL) return 0;
        if (past < end && *past == ':') {
            PyObject *key = PyUnicode_DecodeUTF8(at + 1, past - at - 2, NULL);
            int known = key == NULL ? -1 : PySet_Contains(judge->known_keys, key);
            if (known == 0 && depth == 0 && own != NULL) known = PySet_Contains(own, key);
            Py_XDECREF(key);
            if (known != 1) return known;
        }
        at = past;
    }
    return 1;
}

/* stays(body, own): whether the inner JSON of an object, with keys of its own at its top, has only known keys and no secret;
   False where Python has to look. */
static PyObject *judge_stays(Judge *judge, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2 || !PyBytes_CheckExact(arguments[0]) || !PyAnySet_CheckExact(arguments[1]))
        return PyErr_SetString(PyExc_TypeError, "stays(body, own) takes bytes and a frozenset"), NULL;
    int answer = knows_keys(judge, PyBytes_AS_STRING(arguments[0]), PyBytes_GET_SIZE(arguments[0]), arguments[1]);
    if (answer == 1 && judge->looks_clean != Py_None) answer = is_clean(judge, arguments[0], 1);
    return answer < 0 ? NULL : PyBool_FromLong(answer);
}

/* Whether a text stands in JSON, and in a JSON Pointer, as it is. */
static int is_simple(const char *text, Py_ssize_t size) {
    for (Py_ssize_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] >= 127 || strchr("\"\\~/", text[i]) != NULL) return 0;
    return 1;
}

/* Tags of values whose JSON shows every text that they hold. */
static int hides_nothing(const char *tag, Py_ssize_t size) {
    static const char *names[] = {"opaque", "agent", "numpy:float64", "numpy:float32", "numpy:int64", "numpy:int32", "numpy:bool"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((Py_ssize_t)strlen(names[i]) == size && memcmp(tag, names[i], (size_t)size) == 0) return 1;
    return 0;
}

typedef struct {
    char *at;       /* where the next field is written */
    PyObject *types;
    const char *pointer;
} Noted;

/* Write a field with its tag. 1, 0 where Python has to, -1 with an exception. */
static int put_noted(Noted *noted, PyObject *name, const char *raw, Py_ssize_t size, const char *tag, Py_ssize_t tag_size) {
    Py_ssize_t length;
    const char *text = PyUnicode_IS_COMPACT_ASCII(name) ? PyUnicode_AsUTF8AndSize(name, &length) : NULL;
    if (text == NULL || !is_simple(text, length)) return PyErr_Occurred() ? -1 : 0;
    noted->at = put_bytes(put_bytes(put_bytes(noted->at, "\"", 1), text, length), "\":", 2);
    noted->at = put_bytes(put_bytes(noted->at, raw, size), ",", 1);
    if (tag_size == 0) return 1;
    if (!hides_nothing(tag, tag_size)) return 0;
    PyObject *place = PyUnicode_FromFormat("%s/%U", noted->pointer, name);
    PyObject *told = place == NULL ? NULL : PyUnicode_FromStringAndSize(tag, tag_size);
    int failed = told == NULL || PyDict_SetItem(noted->types, place, told) < 0;
    Py_XDECREF(place);
    Py_XDECREF(told);
    return failed ? -1 : 1;
}

/* The same for the bytes by which a tracker compares a field: `agent ID`, or JSON that is followed by the tags in it. */
static int put_compared(Noted *noted, PyObject *name, PyObject *bytes) {
    static const char agent[] = "agent ", begin[] = "{\"\":\"";
    const char *raw = PyBytes_AS_STRING(bytes), *end = raw + PyBytes_GET_SIZE(bytes);
    if (memchr(raw, '\\', (size_t)(end - raw)) != NULL) return 0;
    if (end - raw >= 6 && memcmp(raw, agent, 6) == 0) {
        char id[128];
        Py_ssize_t size = end - raw - 6;
        if (size > (Py_ssize_t)sizeof id - 2 || !is_simple(raw + 6, size)) return 0;
        char *past = put_bytes(put_bytes(put_bytes(id, "\"", 1), raw + 6, size), "\"", 1);
        return put_noted(noted, name, id, past - id, "agent", 5);
    }
    const char *past = past_value(raw, end);
    if (past == NULL) return 0;
    if (past == end) return put_noted(noted, name, raw, past - raw, NULL, 0);
    const char *tag = past + sizeof begin - 1, *behind = end - 2;
    if (behind <= tag || memcmp(past, begin, sizeof begin - 1) != 0 || memcmp(behind, "\"}", 2) != 0
        || memchr(tag, '"', (size_t)(behind - tag)) != NULL)
        return 0; /* tags of values inside */
    return put_noted(noted, name, raw, past - raw, tag, behind - tag);
}

/* The fields of `last` that are no scalars, and before them the forms, as `Capture.dumped_body` gives them; NULL where Python
   has to look, perhaps with an exception. */
static PyObject *noted_values(Judge *judge, PyObject *last, PyObject *heavy, PyObject *forms, PyObject *types, const char *pointer) {
    PyObject *name, *value;
    Py_ssize_t at = 0, needed = 0;
    while (PyDict_Next(forms, &at, &name, &value)) {
        if (!PyUnicode_CheckExact(name) || !PyBytes_CheckExact(value)) return NULL;
        needed += PyUnicode_GET_LENGTH(name) + PyBytes_GET_SIZE(value) + 8;
    }
    for (at = 0; PyDict_Next(last, &at, &name, &value);) {
        if (!PyUnicode_CheckExact(name)) return NULL;
        if (PyBytes_CheckExact(value)) needed += PyUnicode_GET_LENGTH(name) + PyBytes_GET_SIZE(value) + 8;
    }
    PyObject *body = PyBytes_FromStringAndSize(NULL, needed);
    if (body == NULL || needed == 0) return body;
    Noted noted = {PyBytes_AS_STRING(body), types, pointer};
    int answer = 1;
    for (at = 0; answer == 1 && PyDict_Next(forms, &at, &name, &value);)
        answer = put_noted(&noted, name, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), "opaque", 6);
    for (at = 0; answer == 1 && PyDict_Next(last, &at, &name, &value);)
        if (PyBytes_CheckExact(value) && (answer = PySet_Contains(heavy, name)) >= 0)
            answer = answer ? 1 : put_compared(&noted, name, value);
    Py_ssize_t size = noted.at - PyBytes_AS_STRING(body);
    if (answer == 1 && _PyBytes_Resize(&body, size > 0 ? size - 1 : 0) < 0) return NULL; /* without the last comma */
    if (answer == 1) answer = knows_keys(judge, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), NULL);
    if (answer == 1 && judge->looks_clean != Py_None) answer = is_clean(judge, body, 1);
    if (answer != 1) Py_CLEAR(body);
    return body;
}

/* The scalars of `last`, as `Capture.user_body` gives them; NULL as above. */
static PyObject *noted_scalars(Judge *judge, PyObject *last, PyObject *heavy) {
    PyObject *scalars = PyDict_New(), *raw = NULL, *name, *value, *types = NULL;
    for (Py_ssize_t at = 0; scalars != NULL && PyDict_Next(last, &at, &name, &value);) {
        if (PyBytes_CheckExact(value) || PySet_Contains(heavy, name) == 1) continue;
        if (PySet_Contains(judge->known_keys, name) != 1 || PyDict_SetItem(scalars, name, value) < 0) Py_CLEAR(scalars);
    }
    if (scalars != NULL) raw = tagged_json(judge, scalars, NO_TEXT, NULL, 0, &types);
    Py_XDECREF(scalars);
    if (types != NULL) Py_CLEAR(raw);
    Py_XDECREF(types);
    return raw;
}

/* noted(last, heavy, forms, pointer): (inner JSON, tags) of what a tracker knows of an agent that is gone: the fields of `last`
   that are not `heavy`, and {name: JSON} of objects; None where Python has to look. */
static PyObject *judge_noted(Judge *judge, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 4 || !PyDict_CheckExact(arguments[0]) || !PyAnySet_CheckExact(arguments[1]) || !PyDict_CheckExact(arguments[2])
        || !PyUnicode_CheckExact(arguments[3]))
        return PyErr_SetString(PyExc_TypeError, "noted(last, heavy, forms, pointer)"), NULL;
    const char *pointer = PyUnicode_AsUTF8(arguments[3]);
    PyObject *types = pointer == NULL ? NULL : PyDict_New(), *scalars = NULL, *values = NULL, *inner = NULL, *answer = NULL;
    if (types != NULL) values = noted_values(judge, arguments[0], arguments[1], arguments[2], types, pointer);
    if (values != NULL) scalars = noted_scalars(judge, arguments[0], arguments[1]);
    if (scalars != NULL) {
        Py_ssize_t size = PyBytes_GET_SIZE(scalars) - 2;
        Part parts[] = {{PyBytes_AS_STRING(scalars) + 1, size}, {",", size > 0 && PyBytes_GET_SIZE(values) > 0}, part_of(values)};
        inner = joined(parts, 3);
    }
    if (inner != NULL) answer = PyTuple_Pack(2, inner, PyDict_GET_SIZE(types) > 0 ? types : Py_None);
    Py_XDECREF(types);
    Py_XDECREF(scalars);
    Py_XDECREF(values);
    Py_XDECREF(inner);
    return answer != NULL ? answer : left_to_python();
}
