/* The lines of log files as columns: an Arrow stream that DuckDB reads in place of its own JSON reader.

   It returns the same rows as the JSON reader, but in one pass that includes the checks of the envelope: a query for
   five columns of a million lines reads each byte once. A line that it cannot read completely (recording never writes
   one) marks its file as odd, and the caller then reads that file with DuckDB's reader. So this code can only
   decline a file, never change the result.

   A column has a name, a kind, and the keys of its value: in the payload, next to it, or both.

     T text            j JSON text          i integer        d double      b boolean      L list of text
     u, w, n           time in microseconds since 1970, writer and number of the event
     e                 kind of the event: `type`, else `event_type` of the payload, else "log"
     f                 the name of the file

   The streams run without the interpreter's lock. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "_line_text.h"
#include "_rows.h"
#include "_stream.h"

typedef struct {
    PyObject_HEAD
    Files *files;
} FilesObject;

typedef struct {
    PyObject_HEAD
    Question *question;
} LinesObject;

static PyTypeObject *type_of_lines;

static char *copied(PyObject *given, int *length) {
    Py_ssize_t size = 0;
    const char *text = given == Py_None ? NULL : PyUnicode_AsUTF8AndSize(given, &size);
    if (text == NULL) return NULL;
    char *copy = malloc((size_t)size + 1);
    if (copy == NULL) PyErr_NoMemory();
    else memcpy(copy, text, (size_t)size + 1);
    *length = (int)size;
    return copy;
}

static int take_columns(Question *question, PyObject *columns) {
    Py_ssize_t count = PyTuple_GET_SIZE(columns);
    if (count < 1 || count > MOST_COLUMNS) {
        PyErr_SetString(PyExc_ValueError, "there are 1 to 256 columns");
        return 0;
    }
    if ((question->column = calloc((size_t)count, sizeof(Column))) == NULL) return PyErr_NoMemory() != NULL;
    memset(question->inner_slot, -1, sizeof question->inner_slot);
    memset(question->outer_slot, -1, sizeof question->outer_slot);
    for (int at = 0; at < (int)count; at++) {
        Column *column = &question->column[question->columns++];
        PyObject *name, *inner, *outer;
        const char *kind;
        int ignored;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(columns, at), "UsOO", &name, &kind, &inner, &outer)) return 0;
        column->kind = kind[0];
        column->name = copied(name, &ignored);
        column->inner = copied(inner, &column->inner_len);
        column->outer = copied(outer, &column->outer_len);
        if (PyErr_Occurred()) return 0;
        if (column->kind == 0 || strchr("TjidbLuwnefvt#", column->kind) == NULL) {
            PyErr_Format(PyExc_ValueError, "there is no kind of column %s", kind);
            return 0;
        }
        if (column->inner_len) {
            unsigned slot = slot_of(column->inner, column->inner_len);
            question->inner_next[at] = question->inner_slot[slot];
            question->inner_slot[slot] = (int16_t)at;
        }
        if (column->outer_len) {
            unsigned slot = slot_of(column->outer, column->outer_len);
            question->outer_next[at] = question->outer_slot[slot];
            question->outer_slot[slot] = (int16_t)at;
        }
    }
    return 1;
}

static int take_kinds(Question *question, PyObject *kinds) {
    if (kinds == Py_None) return 1;
    question->is_filtered = 1;
    Py_ssize_t count = PyTuple_GET_SIZE(kinds);
    question->kind = calloc((size_t)count + 1, sizeof(char *));
    question->kind_len = calloc((size_t)count + 1, sizeof(int));
    if (question->kind == NULL || question->kind_len == NULL) return PyErr_NoMemory() != NULL;
    for (Py_ssize_t at = 0; at < count; at++) {
        char *kind = copied(PyTuple_GET_ITEM(kinds, at), &question->kind_len[at]);
        if (kind == NULL) return 0;
        question->kind[question->kinds++] = kind;
    }
    return 1;
}

static int by_number(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static int take_places(Question *question, PyObject *ids) {
    if (ids == Py_None) return 1;
    Py_ssize_t count = PyTuple_GET_SIZE(ids);
    for (question->slots = 64; question->slots < 2 * (uint64_t)count; question->slots *= 2) continue;
    question->place = malloc(question->slots * sizeof(Place));
    question->number = malloc(((size_t)count + 1) * sizeof(int64_t));
    if (question->place == NULL || question->number == NULL) return PyErr_NoMemory() != NULL;
    for (uint64_t at = 0; at < question->slots; at++) question->place[at].seq = -1;
    for (Py_ssize_t at = 0; at < count; at++) {
        Py_ssize_t length;
        const char *id = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(ids, at), &length);
        if (id == NULL) return 0;
        int64_t seq = 0;
        Py_ssize_t digit = 9;
        while (digit < length && digit < 9 + MOST_DIGITS && id[digit] >= '0' && id[digit] <= '9') seq = seq * 10 + id[digit++] - '0';
        if (length < 10 || id[8] != '-' || digit < length) continue; /* no event has this id */
        Place *place = place_of(question, id, seq);
        place->seq = seq;
        memcpy(&place->writer, id, 8);
        question->number[question->numbers++] = seq;
    }
    qsort(question->number, (size_t)question->numbers, sizeof(int64_t), by_number);
    return 1;
}

static int by_mark(const void *one, const void *other) {
    uint16_t a = *(const uint16_t *)one, b = *(const uint16_t *)other;
    return (a > b) - (a < b);
}

static int take_spans(Question *question, PyObject *spans) {
    if (spans == Py_None) return 1;
    Py_ssize_t count = PyTuple_GET_SIZE(spans);
    if ((question->span = malloc(((size_t)count + 1) * sizeof(uint16_t))) == NULL) return PyErr_NoMemory() != NULL;
    for (Py_ssize_t at = 0; at < count; at++) {
        Py_ssize_t length;
        const char *span = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(spans, at), &length);
        if (span == NULL) return 0;
        question->span[question->spans++] = mark_of(span, length);
    }
    qsort(question->span, (size_t)question->spans, sizeof(uint16_t), by_mark);
    return 1;
}

static int take_files(Files *files, PyObject *given) {
    Py_ssize_t count = PyTuple_GET_SIZE(given);
    if ((files->file = calloc((size_t)count + 1, sizeof(File))) == NULL) return PyErr_NoMemory() != NULL;
    for (int at = 0; at < (int)count; at++) {
        File *file = &files->file[files->files++];
        PyObject *path;
        unsigned long long inode;
        long long size, mtime_ns;
        int ignored;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(given, at), "UKLL", &path, &inode, &size, &mtime_ns)) return 0;
        file->inode = inode;
        file->size = size;
        if ((file->path = copied(path, &ignored)) == NULL) return 0;
    }
    return 1;
}

static PyObject *new_files(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(named)) {
    PyObject *given;
    int newest_schema, max_line;
    if (!PyArg_ParseTuple(arguments, "O!ii", &PyTuple_Type, &given, &newest_schema, &max_line)) return NULL;
    if (newest_schema < 1 || newest_schema > 9) {
        PyErr_SetString(PyExc_ValueError, "a version of one digit is known");
        return NULL;
    }
    Files *files = calloc(1, sizeof *files);
    if (files == NULL) return PyErr_NoMemory();
    atomic_init(&files->references, 1);
    files->newest_schema = newest_schema;
    files->max_line = max_line;
    files->first_us = INT64_MAX;
    files->last_us = INT64_MIN;
    FilesObject *self = take_files(files, given) ? (FilesObject *)type->tp_alloc(type, 0) : NULL;
    if (self == NULL) drop_files(files);
    else self->files = files;
    return (PyObject *)self;
}

static void free_files(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    drop_files(((FilesObject *)self)->files);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *lines_of(PyObject *self, PyObject *arguments) {
    Files *files = ((FilesObject *)self)->files;
    PyObject *columns, *kinds, *ids, *spans;
    int levels;
    long long since_us, until_us;
    if (!PyArg_ParseTuple(arguments, "O!OiLLOO", &PyTuple_Type, &columns, &kinds, &levels, &since_us, &until_us, &ids, &spans))
        return NULL;
    if ((kinds != Py_None && !PyTuple_Check(kinds)) || (ids != Py_None && !PyTuple_Check(ids)) ||
        (spans != Py_None && !PyTuple_Check(spans))) {
        PyErr_SetString(PyExc_TypeError, "the kinds, the ids and the spans are a tuple each, or None");
        return NULL;
    }
    Question *question = calloc(1, sizeof *question);
    if (question == NULL) return PyErr_NoMemory();
    atomic_init(&question->references, 1);
    atomic_fetch_add(&files->references, 1);
    question->files = files;
    question->levels = levels << LEVEL_SHIFT;
    question->since_us = since_us;
    question->until_us = until_us;
    LinesObject *made = NULL;
    if ((question->marks = calloc((size_t)files->files + 1, 1)) == NULL) PyErr_NoMemory();
    else if (take_columns(question, columns) && take_kinds(question, kinds) && take_places(question, ids) && take_spans(question, spans))
        made = (LinesObject *)type_of_lines->tp_alloc(type_of_lines, 0);
    if (made == NULL) drop_question(question);
    else made->question = question;
    return (PyObject *)made;
}

static void free_lines(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    drop_question(((LinesObject *)self)->question);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *arrow_c_stream(PyObject *self, PyObject *Py_UNUSED(arguments), PyObject *Py_UNUSED(named)) {
    Question *question = ((LinesObject *)self)->question;
    struct ArrowArrayStream *made = calloc(1, sizeof *made);
    Stream *stream = calloc(1, sizeof *stream);
    if (made == NULL || stream == NULL) {
        free(made);
        free(stream);
        return PyErr_NoMemory();
    }
    atomic_fetch_add(&question->references, 1);
    *stream = (Stream){.question = question, .fd = -1, .error = ""};
    *made = (struct ArrowArrayStream){get_schema, get_next, get_last_error, release_stream, stream};
    PyObject *capsule = PyCapsule_New(made, "arrow_array_stream", free_capsule);
    if (capsule == NULL) {
        release_stream(made);
        free(made);
    }
    return capsule;
}

/* Read every line once, only for the marks and the index. */
static PyObject *look(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *capsule = arrow_c_stream(self, NULL, NULL);
    if (capsule == NULL) return NULL;
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    struct ArrowArray array;
    int failed, is_over = 0;
    Py_BEGIN_ALLOW_THREADS
    while (!is_over && (failed = get_next(stream, &array)) == 0) {
        is_over = array.release == NULL;
        if (!is_over) array.release(&array);
    }
    Py_END_ALLOW_THREADS
    Py_DECREF(capsule);
    if (!is_over) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *marks(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    Question *question = ((LinesObject *)self)->question;
    PyObject *made = PyBytes_FromStringAndSize(NULL, question->files->files);
    if (made != NULL)
        for (int at = 0; at < question->files->files; at++) PyBytes_AS_STRING(made)[at] = (char)atomic_load(&question->marks[at]);
    return made;
}

static PyObject *ends_us(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    Files *files = ((FilesObject *)self)->files;
    if (!atomic_load(&files->is_indexed)) Py_RETURN_NONE;
    return Py_BuildValue("LL", (long long)files->first_us, (long long)files->last_us);
}

static PyObject *numbers(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    Files *files = ((FilesObject *)self)->files;
    if (!atomic_load(&files->is_indexed) || files->is_double) Py_RETURN_NONE;
    PyObject *made = PyDict_New();
    for (int at = 0; made != NULL && at < files->writers; at++) {
        const Writer *writer = &files->writer[at];
        PyObject *bits = PyBytes_FromStringAndSize((const char *)writer->bits, (Py_ssize_t)writer->bytes);
        if (bits == NULL || PyDict_SetItemString(made, writer->name, bits) < 0) Py_CLEAR(made);
        Py_XDECREF(bits);
    }
    return made;
}

static PyMethodDef methods_of_files[] = {
    {"lines", lines_of, METH_VARARGS,
     "lines(columns, kinds, levels, since_us, until_us, ids, spans): the `Lines` with these columns, each a tuple (name, kind, "
     "key in the payload, key next to it). They are of events of these kinds (None: all) or levels (1: ERROR and CRITICAL, "
     "2: WARNING), in this time range, with these ids (None: all) or of these spans or inside them, possibly with further events."},
    {"ends_us", ends_us, METH_NOARGS, "After a pass over all lines, the times of the first and the last event; else None."},
    {"numbers", numbers, METH_NOARGS,
     "After a pass over all lines, {writer: bytes in which a bit is set for each event number}; None before that, or if a "
     "number occurs twice."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef methods_of_lines[] = {
    {"__arrow_c_stream__", (PyCFunction)(void (*)(void))arrow_c_stream, METH_VARARGS | METH_KEYWORDS,
     "Return a new stream over the lines, as in the Arrow PyCapsule interface."},
    {"look", look, METH_NOARGS, "Read every line, only for the marks and the index."},
    {"marks", marks, METH_NOARGS, "Return a byte for each file: 0, or 1 if a line is odd, or 2 if the file cannot be read."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots_of_files[] = {
    {Py_tp_new, new_files},
    {Py_tp_dealloc, free_files},
    {Py_tp_methods, methods_of_files},
    {Py_tp_doc, "Files(files, newest_schema, longest_line): files are (path, inode, size, mtime_ns)."},
    {0, NULL},
};

static PyType_Slot slots_of_lines[] = {
    {Py_tp_dealloc, free_lines},
    {Py_tp_methods, methods_of_lines},
    {Py_tp_doc, "The requested columns and lines of some files; see `Files.lines`."},
    {0, NULL},
};

static PyType_Spec spec_of_files = {"Agent.analysis.query._columns.Files", sizeof(FilesObject), 0, Py_TPFLAGS_DEFAULT, slots_of_files};
static PyType_Spec spec_of_lines = {"Agent.analysis.query._columns.Lines", sizeof(LinesObject), 0,
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots_of_lines};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_columns", .m_size = -1};

PyMODINIT_FUNC PyInit__columns(void) {
    PyObject *made = PyModule_Create(&module);
    if (made == NULL) return NULL;
    PyObject *files = PyType_FromSpec(&spec_of_files);
    if (type_of_lines == NULL) type_of_lines = (PyTypeObject *)PyType_FromSpec(&spec_of_lines);
    if (files == NULL || type_of_lines == NULL || PyModule_AddObject(made, "Files", files) < 0) {
        Py_XDECREF(files);
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
